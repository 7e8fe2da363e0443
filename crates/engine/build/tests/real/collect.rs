//! Collections, prunes and removals beside builds.

use crate::bed::Bed;
use hako_build::BuildRequest;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

const ROUNDS: usize = 6;

fn build(bed: &Bed, worker: usize, round: usize) -> String {
    let request = BuildRequest {
        context: bed.context().join(worker.to_string()),
        tags: vec![format!("app{worker}").parse().unwrap()],
        args: [("ROUND".to_owned(), (round / 2).to_string())].into(),
        ..bed.request()
    };
    let (sender, _events) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let built = runtime.block_on(bed.builder.build(request, sender));
    let image = built.unwrap_or_else(|error| panic!("build {worker}, round {round}: {}", error.chain()));
    image.image.unwrap().id.to_string()
}

#[test]
fn builds_go_on_while_everything_that_nothing_needs_is_removed() {
    let bed = Bed::new("FROM scratch\n");
    for worker in 0..2 {
        bed.write(
            &format!("{worker}/Dockerfile"),
            "FROM busybox AS one\nARG ROUND\nCOPY file /file\nRUN echo $ROUND >> /file\n\
             FROM busybox\nCOPY --from=one /file /from-one\nRUN cat /from-one > /read\n",
        );
        bed.write(&format!("{worker}/file"), format!("worker {worker}\n"));
    }
    let (bed, is_over) = (&bed, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let collecting = [
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    bed.images.gc().unwrap();
                }
            }),
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    bed.builder.prune().unwrap();
                }
            }),
        ];
        let builds: Vec<_> = (0..2)
            .map(|worker| {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let id = build(bed, worker, round);
                        if round % 3 == 2 {
                            bed.images.remove(&id, true).unwrap();
                        }
                    }
                    build(bed, worker, ROUNDS)
                })
            })
            .collect();
        let ended: Vec<_> = builds.into_iter().map(|build| build.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        collecting.into_iter().for_each(|thread| thread.join().unwrap());
        ended.into_iter().for_each(|ended| drop(ended.unwrap()));
    });
    for worker in 0..2 {
        let image = bed.images.find(&format!("app{worker}")).unwrap();
        assert_eq!(bed.read(&image, "read"), format!("worker {worker}\n{}\n", ROUNDS / 2));
    }
    bed.builder.prune().unwrap();
    let layers = bed.images.list().unwrap().into_iter().flat_map(|image| image.layers);
    let mut wanted: Vec<_> = layers.map(|layer| layer.digest).collect();
    wanted.sort();
    wanted.dedup();
    let manifests = 2 * bed.images.list().unwrap().len();
    assert_eq!(bed.images.content().list().unwrap().len(), wanted.len() + manifests, "nothing is left over");
}
