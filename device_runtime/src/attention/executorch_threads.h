// The size of ExecuTorch's thread pool, which the process has one of.
#pragma once

namespace flashneuron {

// Makes ExecuTorch compute on `threads` >= 1 threads, the calling one included. Precondition: no loaded program is
// alive that was loaded under another number (delegates keep the pool they were loaded with).
void set_executorch_threads(int threads);

}  // namespace flashneuron
