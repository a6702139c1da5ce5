# The commands that Slicer's use file brings, as far as scripted modules and their tests need them.

include(CTest)

# Every keyword and every file must be known; names may lack ".py"; relative paths are kept below qt-scripted-modules.
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(PARSE_ARGV 0 MODULE "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES")
  if(MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: unknown keywords \"${MODULE_UNPARSED_ARGUMENTS}\"")
  endif()
  if(NOT MODULE_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: NAME is mandatory")
  endif()
  set(subdirectory "")
  if(MODULE_WITH_SUBDIR)
    get_filename_component(subdirectory "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
    string(PREPEND subdirectory "/")
  endif()
  set(destination "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}${subdirectory}")
  set(copies "")
  foreach(file IN LISTS MODULE_SCRIPTS MODULE_RESOURCES)
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}" AND file IN_LIST MODULE_SCRIPTS)
      string(APPEND file ".py")
    endif()
    set(source "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
    if(NOT EXISTS "${source}" OR IS_DIRECTORY "${source}")
      message(FATAL_ERROR "slicerMacroBuildScriptedModule: there is no file '${file}'")
    endif()
    add_custom_command(
      OUTPUT "${destination}/${file}"
      COMMAND "${CMAKE_COMMAND}" -E copy "${source}" "${destination}/${file}"
      DEPENDS "${source}"
      )
    list(APPEND copies "${destination}/${file}")
  endforeach()
  add_custom_target(Copy${MODULE_NAME}PythonScriptFiles ALL DEPENDS ${copies})
  install(
    DIRECTORY "${destination}/"
    DESTINATION "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}${subdirectory}"
    COMPONENT RuntimeLibraries
    )
endfunction()

function(slicer_add_python_unittest)
  cmake_parse_arguments(PARSE_ARGV 0 MY "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS")
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicer_add_python_unittest: unknown keywords \"${MY_UNPARSED_ARGUMENTS}\"")
  endif()
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT}")
    message(FATAL_ERROR "slicer_add_python_unittest: there is no script '${MY_SCRIPT}'")
  endif()
  get_filename_component(name "${MY_SCRIPT}" NAME_WE)
  set(code "import slicer.testing; slicer.testing.runUnitTest(['${CMAKE_CURRENT_SOURCE_DIR}'], '${name}')")
  add_test(
    NAME "py_${MY_TESTNAME_PREFIX}${name}"
    COMMAND "${Slicer_LAUNCHER_EXECUTABLE}" --no-splash --testing ${MY_SLICER_ARGS} --python-code "${code}"
    )
endfunction()
