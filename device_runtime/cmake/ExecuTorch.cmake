# One target of ours, flashneuron::executorch, over ExecuTorch however it comes: built here from FLASHNEURON_EXECUTORCH's
# sources (Android), or from a Python wheel: executorch_DIR's, else that of the interpreter in Python3_EXECUTABLE.
# FLASHNEURON_QNN: it has QNN's backend.
set(FLASHNEURON_EXECUTORCH "" CACHE PATH "Folder of ExecuTorch's sources, named executorch, to build it")
add_library(flashneuron_executorch INTERFACE)
add_library(flashneuron::executorch ALIAS flashneuron_executorch)
set(FLASHNEURON_QNN OFF)

if(FLASHNEURON_EXECUTORCH)
  foreach(part DEVTOOLS EXTENSION_DATA_LOADER EXTENSION_FLAT_TENSOR EXTENSION_MODULE EXTENSION_NAMED_DATA_MAP
      EXTENSION_TENSOR KERNELS_OPTIMIZED XNNPACK)
    set(EXECUTORCH_BUILD_${part} ON CACHE BOOL "" FORCE)
  endforeach()
  set(EXECUTORCH_ENABLE_EVENT_TRACER ON CACHE BOOL "" FORCE)  # operator profiles
  set(EXECUTORCH_BUILD_EXECUTOR_RUNNER OFF CACHE BOOL "" FORCE)
  set(PYTHON_EXECUTABLE ${Python3_EXECUTABLE} CACHE FILEPATH "" FORCE)  # its code generators need torch and PyYAML
  if(QNN_SDK_ROOT)
    set(EXECUTORCH_BUILD_QNN ON CACHE BOOL "" FORCE)
  endif()
  add_subdirectory(${FLASHNEURON_EXECUTORCH} executorch SYSTEM EXCLUDE_FROM_ALL)
  target_link_libraries(flashneuron_executorch INTERFACE
    executorch executorch::backends executorch::extensions executorch::kernels extension_threadpool etdump)
  if(QNN_SDK_ROOT)
    target_link_libraries(flashneuron_executorch INTERFACE qnn_executorch_backend)
    set(FLASHNEURON_QNN ON)
  endif()
  return()
endif()

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
target_link_libraries(flashneuron_executorch INTERFACE executorch::runtime executorch::kernels_optimized
  executorch::backend_xnnpack executorch::threadpool executorch::etdump)
if(TARGET executorch::backend_qnn)  # x86-64's wheel alone
  target_link_libraries(flashneuron_executorch INTERFACE executorch::backend_qnn)
  set(FLASHNEURON_QNN ON)
endif()
