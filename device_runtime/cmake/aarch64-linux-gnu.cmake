# Toolchain: arm64 Linux by Debian's cross compiler (tools/setup arm64 installs all that it needs). Programs run here
# under qemu's user mode, so that ctest works as for this machine: FLASHNEURON_QEMU_CPU says as which processor.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(FLASHNEURON_C_LIBRARY_FOLDER /usr/aarch64-linux-gnu/lib)  # Debian's libc6-arm64-cross and its neighbours
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)

# What tools/setup keeps for this user: ExecuTorch's wheel for arm64 and Highway's sources.
if(DEFINED ENV{XDG_CACHE_HOME})
  set(arm64_cache $ENV{XDG_CACHE_HOME}/flashneuron/arm64)
else()
  set(arm64_cache $ENV{HOME}/.cache/flashneuron/arm64)
endif()
set(executorch_DIR ${arm64_cache}/executorch/lib/cmake/executorch CACHE PATH "Folder of executorch-config.cmake")
set(FLASHNEURON_HIGHWAY ${arm64_cache}/highway CACHE PATH "Folder of Highway's sources")
if(NOT EXISTS ${executorch_DIR}/executorch-config.cmake OR NOT EXISTS ${FLASHNEURON_HIGHWAY}/CMakeLists.txt)
  message(FATAL_ERROR "ExecuTorch or Highway for arm64 is not in ${arm64_cache}: tools/setup arm64")
endif()

find_program(FLASHNEURON_QEMU NAMES qemu-aarch64-static qemu-aarch64)
set(FLASHNEURON_QEMU_CPU cortex-a76 CACHE STRING "The processor that tests run on")
if(FLASHNEURON_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${FLASHNEURON_QEMU} -cpu ${FLASHNEURON_QEMU_CPU} -L /usr/aarch64-linux-gnu)
endif()
