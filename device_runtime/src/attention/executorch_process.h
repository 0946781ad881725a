// What ExecuTorch has one of in a process: its thread pool and its log.
#pragma once

namespace flashneuron {

// Makes ExecuTorch compute on `threads` >= 1 threads, the calling one included, and log errors alone, to stderr.
// Precondition: no loaded program is alive that was loaded under another number (delegates keep the pool they were
// loaded with).
void set_up_executorch(int threads);

// Gives freed heap memory back to the system where the C library would keep it.
void release_free_memory();

}  // namespace flashneuron
