# fn_install_runner(TARGET): the component "runtime", a folder that moves as a whole, with TARGET and what it needs.
#   this machine        TARGET and its libraries; the C library is the device's own
#   another Linux       lib/, with TARGET, its libraries and the C library, and a script named as TARGET that starts it
#                       by that library's loader: nothing is asked of the device but its kernel
#   Android             TARGET, libc++ and QNN's backend; the other libraries are in it, the C library is the device's
function(fn_install_runner target)
  set(libraries $<TARGET_FILE_DIR:executorch::runtime>)
  if(ANDROID)
    install(TARGETS ${target} RUNTIME DESTINATION . COMPONENT runtime)
    set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN")
    find_file(FLASHNEURON_LIBCXX libc++_shared.so REQUIRED NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH
      PATHS ${CMAKE_SYSROOT}/usr/lib ${ANDROID_NDK} $ENV{ANDROID_NDK_HOME}
      PATH_SUFFIXES aarch64-linux-android toolchains/llvm/prebuilt/linux-x86_64/sysroot/usr/lib/aarch64-linux-android)
    install(FILES ${FLASHNEURON_LIBCXX} DESTINATION . COMPONENT runtime)
    if(FLASHNEURON_QNN)
      install(FILES $<TARGET_FILE:qnn_executorch_backend> DESTINATION . COMPONENT runtime)
    endif()
  elseif(CMAKE_CROSSCOMPILING)
    install(TARGETS ${target} RUNTIME DESTINATION lib COMPONENT runtime)
    install(CODE "
      set(CMAKE_GET_RUNTIME_DEPENDENCIES_PLATFORM linux+elf)
      set(CMAKE_GET_RUNTIME_DEPENDENCIES_TOOL objdump)
      set(CMAKE_GET_RUNTIME_DEPENDENCIES_COMMAND ${CMAKE_OBJDUMP})
      file(GET_RUNTIME_DEPENDENCIES EXECUTABLES $<TARGET_FILE:${target}> RESOLVED_DEPENDENCIES_VAR libraries
        DIRECTORIES ${FLASHNEURON_C_LIBRARY_FOLDER} ${libraries})
      foreach(library IN LISTS libraries)
        get_filename_component(name \${library} NAME)
        file(REAL_PATH \${library} library)
        file(COPY_FILE \${library} \${CMAKE_INSTALL_PREFIX}/lib/\${name} ONLY_IF_DIFFERENT)
      endforeach()" COMPONENT runtime)
    install(PROGRAMS ${PROJECT_SOURCE_DIR}/cmake/start-runner.sh DESTINATION . RENAME ${target} COMPONENT runtime)
  else()
    set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN")
    install(TARGETS ${target}
      RUNTIME_DEPENDENCIES
        DIRECTORIES ${libraries}
        PRE_EXCLUDE_REGEXES [[^ld-linux]] [[^lib(c|m|dl|rt|pthread)\.so]]
      RUNTIME DESTINATION . COMPONENT runtime
      LIBRARY DESTINATION . COMPONENT runtime)
  endif()
endfunction()
