//! The least that an MCP server on rmcp can be: it shakes hands. `benches/figures` measures `telepost
//! mcp` beside it.

use rmcp::{ServerHandler, ServiceExt as _};

struct Bare;

impl ServerHandler for Bare {}

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let served = Bare.serve(rmcp::transport::io::stdio()).await;
        let running = served.map_err(std::io::Error::other)?;
        running.waiting().await.map_err(std::io::Error::other)
    });
    runtime.shutdown_background();
    ended.map(drop)
}
