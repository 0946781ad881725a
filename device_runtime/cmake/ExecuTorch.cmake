# One target of ours, flashneuron::executorch, over ExecuTorch however it comes: the Python wheel of the interpreter in
# Python3_EXECUTABLE, or -Dexecutorch_DIR=… of a source build.
if(NOT DEFINED executorch_DIR)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND ${Python3_EXECUTABLE} -c "import importlib.util as u; print(u.find_spec('executorch').submodule_search_locations[0])"
    OUTPUT_VARIABLE executorch_root OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE executorch_missing ERROR_QUIET)
  if(executorch_missing)
    message(FATAL_ERROR "ExecuTorch was not found beside ${Python3_EXECUTABLE}: pip install executorch==1.5.1, or set executorch_DIR")
  endif()
  set(executorch_DIR ${executorch_root}/lib/cmake/executorch CACHE PATH "Folder of executorch-config.cmake")
endif()
find_package(executorch 1.5 REQUIRED COMPONENTS runtime kernels_optimized backend_xnnpack threadpool etdump)
add_library(flashneuron_executorch INTERFACE)
target_link_libraries(flashneuron_executorch INTERFACE executorch::runtime executorch::kernels_optimized
  executorch::backend_xnnpack executorch::threadpool executorch::etdump)
if(TARGET executorch::backend_qnn)  # x86-64's wheel, and source builds that were asked for it
  target_link_libraries(flashneuron_executorch INTERFACE executorch::backend_qnn)
endif()
add_library(flashneuron::executorch ALIAS flashneuron_executorch)
