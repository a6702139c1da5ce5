# The real file describes the package; it needs a README and a licence beside the top CMakeLists.txt.

foreach(file README.md LICENSE)
  if(NOT EXISTS "${CMAKE_SOURCE_DIR}/${file}")
    message(FATAL_ERROR "${file} is missing: the extension cannot be packaged")
  endif()
endforeach()
set(CPACK_PACKAGE_NAME "${PROJECT_NAME}")
include(CPack)
