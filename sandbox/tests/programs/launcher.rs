//! The launcher alone, for this crate's tests; the product's own binary calls the same function.

fn main() {
    sandbox::launcher_main()
}
