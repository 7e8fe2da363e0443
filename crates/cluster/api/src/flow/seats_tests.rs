use super::*;
use crate::flow::level::bounds;
use serde_json::{Value, json};

struct Desk {
    seats: Arc<Seats>,
    places: Vec<usize>,
    usage: Arc<Usage>,
}

fn queued(shares: u32, lendable: u32) -> LevelSpec {
    spec(
        shares,
        lendable,
        json!({"type": "Queue", "queuing": {"queues": 8, "handSize": 2, "queueLengthLimit": 3}}),
    )
}

fn rejecting(shares: u32) -> LevelSpec {
    spec(shares, 0, json!({"type": "Reject"}))
}

fn spec(shares: u32, lendable: u32, response: Value) -> LevelSpec {
    let limited =
        json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
    serde_json::from_value(json!({"type": "Limited", "limited": limited})).unwrap()
}

fn configure(seats: &Arc<Seats>, total: u32, levels: &[(&str, LevelSpec)]) -> Vec<usize> {
    let specs: Vec<&LevelSpec> = levels.iter().map(|(_, spec)| spec).collect();
    let all = levels.iter().zip(bounds(total, &specs)).map(|((name, spec), bounds)| (*name, spec, bounds));
    seats.configure(&all.collect::<Vec<_>>())
}

fn desk(total: u32, levels: &[(&str, LevelSpec)]) -> Desk {
    let seats = Arc::default();
    let places = configure(&seats, total, levels);
    Desk { seats, places, usage: Arc::default() }
}

impl Desk {
    fn ask(&self, level: usize, flow: u64) -> Asked {
        self.seats.ask(self.places[level], flow, 1, &self.usage, Arrival::default)
    }

    fn seat(&self, level: usize, flow: u64) -> Seat {
        match self.ask(level, flow) {
            Asked::Seat(seat) => seat,
            other => panic!("{other:?}"),
        }
    }

    fn waiting(&self, level: usize, flow: u64) -> Waiting {
        match self.ask(level, flow) {
            Asked::Waiting(waiting) => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn used(&self) -> Vec<u32> {
        self.seats.levels().iter().map(|level| level.used).collect()
    }
}

#[test]
fn what_does_not_fit_waits_and_goes_when_a_seat_is_given_back() {
    let desk = desk(1, &[("a", queued(1, 0))]);
    let first = desk.seat(0, 1);
    let mut second = desk.waiting(0, 1);
    assert!(second.receive.try_recv().is_err());
    drop(first);
    let seat = second.receive.try_recv().unwrap();
    assert_eq!(desk.used(), [1]);
    drop(seat);
    assert_eq!(desk.used(), [0]);
}

#[test]
fn a_level_without_queues_refuses_at_once() {
    let desk = desk(1, &[("a", rejecting(1))]);
    let _first = desk.seat(0, 1);
    assert!(matches!(desk.ask(0, 2), Asked::NoSeat));
}

#[test]
fn a_flow_that_fills_its_queues_leaves_others_theirs() {
    let desk = desk(3, &[("a", queued(1, 0))]);
    // The third is in the same queue as the first.
    let (running, _second, _third) = (desk.seat(0, 1), desk.seat(0, 1), desk.seat(0, 1));
    let mut flood = Vec::new();
    while let Asked::Waiting(waiting) = desk.ask(0, 1) {
        flood.push(waiting);
    }
    assert_eq!(flood.len(), 6, "two queues of three");
    // Of 28 hands this one has no queue in common with the flood's.
    let other =
        (0..).find(|hash| deal(*hash, 8, 2).all(|card| deal(1, 8, 2).all(|taken| taken != card))).unwrap();
    let mut mouse = desk.waiting(0, other);
    drop(running);
    let seat = mouse.receive.try_recv().expect("who had nothing yet goes before who had a seat");
    assert!(flood.iter_mut().all(|waiting| waiting.receive.try_recv().is_err()));
    drop(seat);
    // Held, for each that is given back goes to the next.
    let granted: Vec<Seat> = flood.iter_mut().filter_map(|waiting| waiting.receive.try_recv().ok()).collect();
    assert_eq!(granted.len(), 1);
}

#[test]
fn what_a_level_lends_is_used_and_its_minimum_is_never_taken() {
    let desk = desk(10, &[("lender", queued(5, 60)), ("borrower", queued(5, 0))]);
    let borrowed: Vec<Seat> = (0..8).map(|flow| desk.seat(1, flow)).collect();
    let _waits = desk.waiting(1, 0);
    let own: Vec<Seat> = (0..2).map(|flow| desk.seat(0, flow)).collect();
    assert_eq!(desk.used(), [2, 8]);
    // The next of the lender's has to wait for one of its seats to come back, and goes before the borrower's.
    let mut next = desk.waiting(0, 9);
    drop(borrowed);
    assert!(next.receive.try_recv().is_ok());
    drop(own);
}

#[test]
fn a_level_does_not_borrow_more_than_it_may() {
    let mut greedy = queued(5, 0);
    if let Some(limited) = &mut greedy.limited {
        limited.borrowing_limit_percent = Some(20);
    }
    let desk = desk(10, &[("lender", queued(5, 100)), ("borrower", greedy)]);
    let _seats: Vec<Seat> = (0..6).map(|flow| desk.seat(1, flow)).collect();
    let _waits = desk.waiting(1, 0);
    assert_eq!(desk.seats.levels()[1].limit, 6);
}

#[test]
fn who_gives_up_waiting_leaves_no_trace() {
    let desk = desk(1, &[("a", queued(1, 0))]);
    let first = desk.seat(0, 1);
    drop(desk.waiting(0, 1));
    let mut second = desk.waiting(0, 2);
    drop(first);
    assert!(second.receive.try_recv().is_ok(), "the one that is gone does not keep a seat");
    drop(second);
    assert_eq!(desk.used(), [0]);
    assert_eq!(desk.seats.levels()[0].waiting, 0);
}

#[test]
fn a_seat_on_its_way_to_somebody_who_is_gone_comes_back() {
    let desk = desk(1, &[("a", queued(1, 0))]);
    let first = desk.seat(0, 1);
    let waiting = desk.waiting(0, 1);
    drop(first);
    assert_eq!(desk.used(), [1], "it is on its way");
    drop(waiting);
    assert_eq!(desk.used(), [0]);
}

#[test]
fn a_wide_request_takes_many_seats_and_runs_alone_where_there_are_too_few() {
    let desk = desk(4, &[("a", queued(1, 0))]);
    let wide = desk.seats.ask(desk.places[0], 1, 3, &desk.usage, Arrival::default);
    assert!(matches!(wide, Asked::Seat(_)));
    let _one = desk.seat(0, 1);
    let _waits = desk.waiting(0, 1);
    assert_eq!(desk.used(), [4]);
    drop((wide, _one, _waits));
    assert!(matches!(desk.seats.ask(desk.places[0], 1, 99, &desk.usage, Arrival::default), Asked::Seat(_)));
}

#[test]
fn levels_change_while_requests_run_and_wait() {
    let desk = desk(2, &[("a", queued(1, 0)), ("b", queued(1, 0))]);
    let running = desk.seat(0, 1);
    let mut waiting: Vec<Waiting> = (0..3).map(|flow| desk.waiting(0, flow)).collect();
    let places = configure(&desk.seats, 2, &[("b", queued(1, 0))]);
    assert_eq!(places, [desk.places[1]]);
    assert!(waiting.iter_mut().all(|waiting| waiting.receive.try_recv().is_err()));
    drop(running);
    let granted = waiting.iter_mut().find_map(|waiting| waiting.receive.try_recv().ok());
    assert!(granted.is_some(), "those of a level that is gone still have their turn");
    assert_eq!(configure(&desk.seats, 4, &[("a", queued(1, 0)), ("b", queued(1, 0))]), desk.places);
    drop((granted, waiting));
    assert_eq!(desk.used(), [0, 0]);
}
