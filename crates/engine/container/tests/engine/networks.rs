//! Containers in networks that people make, over the death of the engine's process.

use crate::host::*;
use hako_container::{
    ContainerEngine, ContainerSpec, EndpointSpec, Engine, ExecSpec, NetworkMode, NetworkRequest, SandboxSpec,
};
use hako_names::ContainerId;

fn app() -> NetworkRequest {
    NetworkRequest { name: "app".into(), ipv4: true, ..NetworkRequest::default() }
}

fn endpoint(network: &str) -> EndpointSpec {
    EndpointSpec { network: network.into(), ..EndpointSpec::default() }
}

async fn sleeper(engine: &Engine, name: &str) -> ContainerId {
    let sandbox = SandboxSpec {
        network: NetworkMode::Endpoints,
        endpoints: vec![endpoint("app")],
        ..SandboxSpec::default()
    };
    let spec = ContainerSpec { name: name.into(), ..busybox("exec sleep 100") };
    let id = engine.create_standalone(sandbox, spec).await.unwrap();
    engine.start(&id).await.unwrap();
    id
}

/// The host's end of a container's first link.
async fn link(engine: &Engine, id: &ContainerId) -> String {
    let sandbox = engine.container(id).await.unwrap().sandbox;
    let place = engine.sandbox(&sandbox).await.unwrap().places.remove(0);
    place.endpoint.unwrap().link
}

const MADE_AHEAD: &str = "hnp";

#[test]
fn where_starts_follow_each_other_one_finds_its_place_made_and_who_asks_for_more_does_not() {
    on_host(|host| async move {
        let engine = host.open().await;
        engine.create_network(app()).await.unwrap();
        let mut started = Vec::new();
        let quick = loop {
            assert!(started.len() < 50, "no place was made ahead");
            let id = sleeper(&engine, &format!("c{}", started.len())).await;
            started.push(id.clone());
            if link(&engine, &id).await.starts_with(MADE_AHEAD) {
                break id;
            }
        };
        assert!(started.len() > 2, "two starts came before");
        assert!(
            finds(&engine, &quick, "c0").await
                && finds(&engine, &started[0], &format!("c{}", started.len() - 1)).await
        );
        let ifname = ("com.docker.network.endpoint.ifname".to_owned(), "lan".to_owned());
        let named = EndpointSpec { options: [ifname].into(), ..endpoint("app") };
        for (name, endpoints) in [("named", vec![named]), ("two", vec![endpoint("app"), endpoint("bridge")])]
        {
            let sandbox =
                SandboxSpec { network: NetworkMode::Endpoints, endpoints, ..SandboxSpec::default() };
            let spec = ContainerSpec { name: name.into(), ..busybox("exec sleep 100") };
            let id = engine.create_standalone(sandbox, spec).await.unwrap();
            // So that there is one to be had.
            for _ in 0..2 {
                engine.networks().unwrap().make_ahead(&engine.networks().unwrap().find("app").unwrap().id);
            }
            engine.start(&id).await.unwrap();
            assert!(!link(&engine, &id).await.starts_with(MADE_AHEAD), "{name}");
        }
        let before = pid(&engine, &quick).await;
        drop(engine);
        let engine = host.open().await;
        assert_eq!(pid(&engine, &quick).await, before, "the next engine knows it");
        assert!(finds(&engine, &started[0], &format!("c{}", started.len() - 1)).await);
        engine.stop(&quick, None, std::time::Duration::ZERO).await.unwrap();
        engine.start(&quick).await.unwrap();
        assert!(finds(&engine, &quick, "c0").await, "after a restart");
    });
}

async fn finds(engine: &Engine, from: &ContainerId, name: &str) -> bool {
    let argv = ["nslookup", "-type=a", name, "127.0.0.11"].map(str::to_owned).to_vec();
    let exec = engine.exec(from, ExecSpec { argv, ..ExecSpec::default() }).await.unwrap();
    finish(exec).await.1.contains(&format!("Name:\t{name}"))
}

#[test]
fn names_answer_again_after_the_engines_death_without_a_restart_of_containers() {
    on_host(|host| async move {
        let engine = host.open().await;
        engine.create_network(app()).await.unwrap();
        let (first, second) = (sleeper(&engine, "first").await, sleeper(&engine, "second").await);
        assert!(finds(&engine, &first, "second").await);
        let pids = (pid(&engine, &first).await, pid(&engine, &second).await);
        drop(engine);
        let engine = host.open().await;
        assert_eq!((pid(&engine, &first).await, pid(&engine, &second).await), pids);
        assert!(finds(&engine, &first, "second").await && finds(&engine, &second, "first").await);
        engine.rename(&second, "other").await.unwrap();
        assert!(finds(&engine, &first, "other").await && !finds(&engine, &first, "second").await);
        engine.connect_network(&first, endpoint("bridge")).await.unwrap();
        drop(engine);
        let engine = host.open().await;
        let sandbox = engine.container(&first).await.unwrap().sandbox;
        let places = engine.sandbox(&sandbox).await.unwrap().places;
        let taken = places.iter().filter(|place| place.endpoint.is_some()).count();
        assert_eq!((places.len(), taken), (2, 2), "a connection made while running stays");
    });
}

#[test]
fn a_place_that_no_container_claims_is_given_back_by_the_next_open() {
    on_host(|host| async move {
        let engine = host.open().await;
        let net = engine.create_network(app()).await.unwrap();
        let first = sleeper(&engine, "first").await;
        let sandbox = engine.container(&first).await.unwrap().sandbox;
        let netns = engine.sandbox(&sandbox).await.unwrap().netns.unwrap();
        drop(engine);
        // As if killed between the connection and its record in the engine.
        let networks = host.networks();
        let half = networks.default_network().unwrap();
        networks
            .connect(&hako_network::Connect {
                network: &half.id,
                sandbox: sandbox.as_str(),
                netns: &std::fs::File::open(netns).unwrap(),
                ip4: None,
                ip6: None,
                link_local: Vec::new(),
                mac: None,
                names: Vec::new(),
                links: Vec::new(),
                priority: 0,
                options: std::collections::BTreeMap::new(),
                ahead: None,
            })
            .unwrap();
        drop(networks);
        let engine = host.open().await;
        let networks = engine.networks().unwrap();
        assert!(networks.endpoints(&half.id).is_empty());
        assert_eq!(networks.endpoints(&net.id).len(), 1);
        assert!(engine.remove_network("app").await.is_err(), "somebody is connected");
        engine.remove(&first, KILL).await.unwrap();
        engine.remove_network("app").await.unwrap();
    });
}
