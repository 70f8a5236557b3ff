#![forbid(unsafe_code)]
//! Boards, memory planner, Plan and capsule.
