//! What only this engine promises: space, flushes, crashes of parts.
