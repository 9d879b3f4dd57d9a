//! The container files seen from outside: they set what exists, publish nothing to the world, and fit together.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::app::SCHEMA;
use crate::config::Settings;
use crate::http::settings::Server;

#[test]
fn the_container_files_set_what_exists_and_publish_on_this_machine_only() {
    let compose = include_str!("../../../docker-compose.yml");
    let known: BTreeSet<_> =
        Settings::unset(SCHEMA).describe().iter().map(|setting| setting.name).collect();
    let set: Vec<_> = [compose, include_str!("../../../Dockerfile")]
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| line.trim().trim_start_matches("ENV ").split_once([':', '=']))
        .map(|(name, _)| name)
        .filter(|name| {
            name.contains('_') && !name.contains(|l: char| !matches!(l, 'A'..='Z' | '_' | '6'))
        })
        // Those are the build's.
        .filter(|name| !name.starts_with("CARGO_"))
        .collect();
    assert!(set.len() >= 8, "{set:?}");
    for name in set {
        assert!(known.contains(name), "{name} is no setting");
    }
    let published = || compose.lines().filter(|line| line.trim().starts_with("ports:"));
    assert_eq!(published().count(), 5);
    assert!(published().all(|line| line.contains("[\"127.0.0.1:")));
}

#[test]
fn the_balancer_names_gateways_that_are_there_and_outlasts_none_of_their_times() {
    let compose = include_str!("../../../docker-compose.yml");
    let balancer = include_str!("../../../tools/cluster/nginx.conf");
    let after = |word: &str| {
        let lines = balancer.lines().filter_map(|line| line.trim().strip_prefix(word));
        lines.map(|rest| rest.trim_matches([' ', ';']).to_owned()).collect::<Vec<_>>()
    };
    let servers = after("server gateway-");
    assert_eq!(servers.len(), 3);
    for server in servers {
        let (number, _) = server.split_once(":8080 ").expect("the port of the gateway");
        assert!(compose.contains(&format!("\n  gateway-{number}:\n    <<: *member\n")), "{server}");
    }
    assert_eq!(compose.matches("RATE_LIMIT_INSTANCES: \"3\"").count(), 1);
    let seconds = |word| {
        let [time] = &after(word)[..] else { panic!("{word}: once") };
        Duration::from_secs(time.trim_end_matches('s').parse().unwrap())
    };
    let http = Settings::unset(SCHEMA).of::<Server>();
    assert!(seconds("keepalive_timeout ") < http.keep_alive);
    assert!(seconds("proxy_read_timeout ") > http.request_timeout);
    // Only what cannot have been carried out is tried again.
    assert_eq!(after("proxy_next_upstream "), ["error timeout"]);
}

#[test]
fn what_the_stack_sets_for_the_gateway_can_be_changed_in_its_file_of_settings() {
    let compose = include_str!("../../../docker-compose.yml");
    let gateway =
        compose.split("  gateway:").nth(1).and_then(|rest| rest.split("\n  redis:").next());
    let section = gateway.and_then(|text| text.split("environment:").nth(1)).unwrap();
    let section = section.split("ports:").next().unwrap();
    let set = section.lines().filter_map(|line| line.trim().split_once(": "));
    let set: Vec<_> = set.filter(|(name, _)| !name.starts_with('#')).collect();
    let fixed = ["API_HOST", "API_PORT"];
    assert!(set.len() > fixed.len(), "{set:?}");
    for (name, value) in set.into_iter().filter(|(name, _)| !fixed.contains(name)) {
        assert!(value.starts_with(&format!("${{{name}:-")), "{name} hides the value of .env");
    }
    // Nothing of the account may stand there: it would hide the real one, or the simulator inside.
    assert!(!section.contains("ALIEXPRESS_"), "{section}");
}
