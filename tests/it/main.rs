//! The product, through its binary.
