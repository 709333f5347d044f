//! Gateways without a parent: stopped at the end of a test, also of one that panics.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use super::House;
use super::wait_for;

/// A house whose gateway is started by the first process that needs it, with the token in `.env` only.
pub(crate) struct SelfStarting {
    house: House,
}

impl SelfStarting {
    pub(crate) fn new() -> Self {
        let mut house = House::new();
        house.config["gateway"] = json!("auto");
        house.write_config();
        let env = house.path().join(".env");
        fs::write(&env, format!("TOKEN_ONE={}\n", house.token())).unwrap();
        fs::set_permissions(&env, fs::Permissions::from_mode(0o600)).unwrap();
        Self { house }
    }

    /// The status of the running gateway, once it polls.
    #[track_caller]
    pub(crate) fn wait_until_polling(&self) -> Value {
        let bot = self.bot();
        self.sim
            .wait_for(|view| view.waiting_polls(bot) > 0, super::PATIENCE)
            .unwrap();
        wait_for("gateway.json", || {
            let status = self.status();
            let gateway = status["gateway"].clone();
            if gateway.is_object() {
                Ok(gateway)
            } else {
                Err(status)
            }
        })
    }

    /// Whether any gateway runs.
    pub(crate) fn has_gateway(&self) -> bool {
        self.status()["gateway"].is_object()
    }

    /// How often a gateway was started here.
    pub(crate) fn starts(&self) -> usize {
        let logs = self.state().join("logs");
        let Ok(files) = fs::read_dir(logs) else {
            return 0;
        };
        files
            .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
            .map(|log| log.matches("gateway started").count())
            .sum()
    }
}

impl std::ops::Deref for SelfStarting {
    type Target = House;
    fn deref(&self) -> &House {
        &self.house
    }
}

impl Drop for SelfStarting {
    fn drop(&mut self) {
        // Whatever the test has done to the configuration.
        self.house.write_config();
        let stopped = self
            .house
            .command(&["gateway", "stop"])
            .output()
            .is_ok_and(|output| output.status.success());
        if stopped {
            return;
        }
        let file = fs::read_to_string(self.state().join("gateway.json")).unwrap_or_default();
        let file: Value = serde_json::from_str(&file).unwrap_or_default();
        if let Some(pid) = file["pid"].as_u64() {
            drop(Command::new("kill").args(["-9", &pid.to_string()]).status());
        }
    }
}
