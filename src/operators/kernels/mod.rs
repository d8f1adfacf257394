//! The arithmetic of the operators, without ONNX Runtime: plain loops that the compiler turns into vector
//! code, once for every [`Level`].
//!
//! | file | part |
//! |---|---|
//! | `level` | which instruction sets there are, and how a kernel is compiled for each |
//! | `math` | exponential, GELU, quantisation: branch-free |
//! | `attention` | over packed texts |
//! | `tile` | attention's inner loops |
//! | `norm` | sum, layer norm, groups apart |
//! | `gelu` | GELU |
//! | `product` | of bytes, to floats or through GELU to bytes |

pub mod attention;
pub mod gelu;
mod level;
mod math;
pub mod norm;
pub mod product;
mod tile;

#[cfg(test)]
mod tests;

pub use level::Level;
pub use math::Quantiser;
