# The real file writes the package configuration with which other extensions find this one.

foreach(field HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if("${EXTENSION_${field}}" STREQUAL "")
    message(FATAL_ERROR "EXTENSION_${field} is not set")
  endif()
endforeach()
file(WRITE "${CMAKE_BINARY_DIR}/${PROJECT_NAME}Config.cmake" "set(${PROJECT_NAME}_DEPENDS \"${EXTENSION_DEPENDS}\")\n")
