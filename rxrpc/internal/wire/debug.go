package wire

// DebugRequestSize is the length of a debug request's body.
const DebugRequestSize = 8
