//! Memory of the gateway while it fetches a large file.

use serde_json::json;

use crate::gateway::quiet_gateway;
use crate::house::OWNER;
use crate::machine::resident;
use crate::table::Table;
use crate::{House, wait_for};

/// Just below what a bot can fetch.
const SIZE: usize = (20 << 20) - 1;

pub(crate) fn measure(table: &mut Table) {
    let mut house = House::empty();
    house.add_session("ONE", json!({}));
    house.write_config();
    let gateway = quiet_gateway(&house);
    gateway.wait_until_polling(&house);
    let anonymous = || resident(gateway.pid()).map_or(0.0, |(_, anonymous)| anonymous);
    let fetch = |name: &str, size: usize| {
        house.sim.add_file(name, vec![7; size]);
        let message = house.sim.message(house.bot()).chat(OWNER);
        let sent = message.document(name, "a.zip", "application/zip").send();
        let state = format!("files/{}/state.json", sent.update_id.unwrap());
        let state = house.session(&state);
        let mut most = anonymous();
        wait_for("the file", || {
            most = most.max(anonymous());
            if state.exists() { Ok(()) } else { Err(()) }
        });
        most
    };
    // Minimum for any file: a connection, a task.
    fetch("small", 1000);
    let before = anonymous();
    let tenth = fetch("a tenth", SIZE / 10);
    let most = fetch("large", SIZE);
    table.value(
        "gateway: anonymous memory while a file of 20 MB is fetched",
        "flat",
        &format!("{most:.1} MB"),
        1,
        &format!(
            "{before:.1} MB before, {tenth:.1} MB while one of 2 MB was, {:.1} MB after",
            anonymous()
        ),
    );
}
