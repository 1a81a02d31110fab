//! Which operation a request is. The table is part of the contract with cube-admin, which decides by it for other proxies.

pub use cube_wire::operations::*;
