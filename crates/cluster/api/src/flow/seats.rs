//! Seats: how many requests of each level are worked on at the same time, and which of those that wait goes next.
//!
//! A level always has its own minimum. What levels would lend is one pool: whoever needs more than its minimum takes
//! from it up to its maximum, and where several wait, the level that has least of what is its own goes first, so that
//! a lender is the first to get back what it lent. Within a level the queue goes first whose requests took least
//! time on seats.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::deal::deal;
use super::dump::Arrival;
use super::level::{Bounds, LevelSpec, Queuing};
use super::usage::Usage;
use crate::metrics::Text;

/// What a request that runs counts for until it is known how long it took, as upstream has it: whoever has long
/// requests running does not get further seats before others.
pub(super) const ASSUMED_MICROS: u64 = 60_000_000;

/// The seats of a server.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// A level stays once it was there: requests may still hold its seats.
    levels: Vec<Level>,
    /// What all levels lend, and what is taken of that.
    lendable: u32,
    lent: u32,
    waiting: usize,
    last_ticket: u64,
}

#[derive(Debug, Default)]
struct Level {
    name: String,
    bounds: Bounds,
    queuing: Option<Queuing>,
    queues: Vec<Queue>,
    used: u32,
    waiting: usize,
    /// Where a queue begins that had nothing to do.
    floor: u64,
    next: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiter>,
    waiting_seats: u32,
    running: usize,
    running_seats: u32,
    /// Microseconds on seats of all requests that ended.
    done: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    width: u32,
    usage: Arc<Usage>,
    arrival: Arrival,
    send: oneshot::Sender<Seat>,
}

/// The place of a request that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    level: usize,
    queue: usize,
    width: u32,
    usage: Arc<Usage>,
    since: Instant,
}

/// The place of a request that waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    seats: Arc<Seats>,
    level: usize,
    ticket: u64,
    usage: Arc<Usage>,
    /// Whether it waited as long as it may; else whoever sent it is gone.
    pub is_timed_out: bool,
    pub receive: oneshot::Receiver<Seat>,
}

/// What asking for a seat comes to.
#[derive(Debug)]
pub(super) enum Asked {
    Seat(Seat),
    Waiting(Waiting),
    /// There is no seat, and the level has no queues.
    NoSeat,
    QueueFull,
}

/// How a level is, for whoever wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LevelState {
    pub name: String,
    pub bounds: Bounds,
    pub limit: u32,
    pub used: u32,
    pub waiting: usize,
}

/// How a queue is.
#[derive(Debug)]
pub(super) struct QueueState {
    pub level: String,
    pub index: usize,
    /// Seats of those that wait, and what they are.
    pub waiting: Vec<(u32, Arrival)>,
    pub running: usize,
    pub seats: u32,
    pub cost: u64,
}

type Grants = Vec<(oneshot::Sender<Seat>, Seat)>;

impl Seats {
    /// Sets what levels there are; answers the place of each.
    pub(super) fn configure(self: &Arc<Self>, levels: &[(&str, &LevelSpec, Bounds)]) -> Vec<usize> {
        let mut state = self.0.lock();
        for level in &mut state.levels {
            // Of a level that is gone one request after the other still runs.
            (level.bounds, level.queuing) = (Bounds { nominal: 1, min: 1, max: 1 }, None);
        }
        let places = levels.iter().map(|(name, spec, bounds)| state.put(name, spec, *bounds)).collect();
        state.lendable = levels.iter().map(|(_, _, bounds)| bounds.nominal - bounds.min).sum();
        state.lent = state.levels.iter().map(Level::borrowed).sum();
        let grants = state.dispatch(self);
        drop(state);
        send(grants);
        places
    }

    /// Asks for `width` seats of a level, for the flow of that hash.
    pub(super) fn ask(
        self: &Arc<Self>,
        level: usize,
        flow: u64,
        width: u32,
        usage: &Arc<Usage>,
        arrival: impl FnOnce() -> Arrival,
    ) -> Asked {
        let mut state = self.0.lock();
        let queue = state.levels[level].choose(flow);
        if state.levels[level].waiting == 0 && state.fits(level, width) {
            return Asked::Seat(state.start(self, level, queue, width, Arc::clone(usage)));
        }
        state.wait(self, (level, queue), width, usage, arrival)
    }

    /// How all queues are.
    pub(super) fn queues(&self) -> Vec<QueueState> {
        let state = self.0.lock();
        let of_level = |level: &Level| {
            let name = level.name.clone();
            let of = move |(index, queue): (usize, &Queue)| QueueState {
                level: name.clone(),
                index,
                waiting: queue.waiting.iter().map(|it| (it.width, it.arrival.clone())).collect(),
                running: queue.running,
                seats: queue.running_seats,
                cost: queue.cost(),
            };
            level.queues.iter().enumerate().map(of).collect::<Vec<_>>()
        };
        state.levels.iter().flat_map(of_level).collect()
    }

    /// How all levels are.
    pub(super) fn levels(&self) -> Vec<LevelState> {
        let state = self.0.lock();
        let of = |(place, level): (usize, &Level)| LevelState {
            name: level.name.clone(),
            bounds: level.bounds,
            limit: state.limit(place),
            used: level.used,
            waiting: level.waiting,
        };
        state.levels.iter().enumerate().map(of).collect()
    }
}

/// How many seats levels have, may have and use.
pub(super) fn write(text: &mut Text, levels: &[LevelState]) {
    type Gauge = fn(&LevelState) -> u32;
    let gauges: [(&str, &str, Gauge); 5] = [
        ("nominal_limit_seats", "Seats of a level by its share.", |level| level.bounds.nominal),
        ("lower_limit_seats", "Seats that a level never lends.", |level| level.bounds.min),
        ("upper_limit_seats", "Seats that a level may have with all it borrows.", |level| level.bounds.max),
        ("current_limit_seats", "Seats that a level may have now.", |level| level.limit),
        ("demand_seats", "Seats that a level uses, and requests that wait for one.", |level| {
            level.used.saturating_add(u32::try_from(level.waiting).unwrap_or(u32::MAX))
        }),
    ];
    for (name, help, gauge) in gauges {
        let name = format!("apiserver_flowcontrol_{name}");
        text.head(&name, "gauge", help);
        for level in levels {
            text.value(&name, &[("priority_level", &level.name)], gauge(level));
        }
    }
}

/// Hands seats over. Whoever is gone gives its seat back on the way, so no lock may be held.
fn send(grants: Grants) {
    for (send, seat) in grants {
        drop(send.send(seat));
    }
}

impl State {
    fn put(&mut self, name: &str, spec: &LevelSpec, bounds: Bounds) -> usize {
        let known = self.levels.iter().position(|level| level.name == name);
        let place = known.unwrap_or_else(|| {
            self.levels.push(Level { name: name.to_owned(), ..Level::default() });
            self.levels.len() - 1
        });
        let level = &mut self.levels[place];
        (level.bounds, level.queuing) = (bounds, spec.queuing());
        level.reshape(level.queuing.map_or(1, |queuing| queuing.queues));
        place
    }

    /// How many seats a level may have now.
    fn limit(&self, level: usize) -> u32 {
        let level = &self.levels[level];
        let taken_by_others = self.lent - level.borrowed();
        (level.bounds.min + self.lendable.saturating_sub(taken_by_others)).min(level.bounds.max)
    }

    /// A request that is wider than its level's limit runs alone.
    fn fits(&self, level: usize, width: u32) -> bool {
        let used = self.levels[level].used;
        used == 0 || used.saturating_add(width) <= self.limit(level)
    }

    fn start(
        &mut self,
        seats: &Arc<Seats>,
        level: usize,
        queue: usize,
        width: u32,
        usage: Arc<Usage>,
    ) -> Seat {
        self.occupy(level, |level| level.used += width);
        let place = &mut self.levels[level].queues[queue];
        place.running += 1;
        place.running_seats += width;
        usage.started(width);
        Seat { seats: Arc::clone(seats), level, queue, width, usage, since: Instant::now() }
    }

    fn occupy(&mut self, level: usize, change: impl FnOnce(&mut Level)) {
        let level = &mut self.levels[level];
        let before = level.borrowed();
        change(level);
        self.lent = self.lent - before + level.borrowed();
    }

    fn wait(
        &mut self,
        seats: &Arc<Seats>,
        (level, queue): (usize, usize),
        width: u32,
        usage: &Arc<Usage>,
        arrival: impl FnOnce() -> Arrival,
    ) -> Asked {
        let Some(queuing) = self.levels[level].queuing else { return Asked::NoSeat };
        let place = &mut self.levels[level];
        let chosen = &mut place.queues[queue];
        if chosen.waiting.len() >= queuing.queue_length_limit {
            return Asked::QueueFull;
        }
        self.last_ticket += 1;
        let (send, receive) = oneshot::channel();
        let ticket = self.last_ticket;
        let arrival = arrival();
        chosen.waiting.push_back(Waiter { ticket, width, usage: Arc::clone(usage), arrival, send });
        chosen.waiting_seats += width;
        place.waiting += 1;
        self.waiting += 1;
        usage.queued();
        let (seats, usage) = (Arc::clone(seats), Arc::clone(usage));
        Asked::Waiting(Waiting { seats, level, ticket, usage, is_timed_out: false, receive })
    }

    /// Gives seats to who waits, as long as there are any.
    fn dispatch(&mut self, seats: &Arc<Seats>) -> Grants {
        let mut grants = Grants::new();
        while self.waiting > 0 {
            let ready = (0..self.levels.len()).filter(|place| {
                let next = self.levels[*place].next_queue();
                next.is_some_and(|queue| self.fits(*place, self.levels[*place].head_width(queue)))
            });
            let Some(level) = ready.min_by(|a, b| self.levels[*a].need(&self.levels[*b])) else { break };
            let Some((queue, waiter)) = self.levels[level].take() else { break };
            self.waiting -= 1;
            waiter.usage.left_queue();
            let seat = self.start(seats, level, queue, waiter.width, waiter.usage);
            grants.push((waiter.send, seat));
        }
        grants
    }

    fn leave(&mut self, seat: &Seat, micros: u64) {
        let width = seat.width;
        self.occupy(seat.level, |level| level.used -= width);
        // After a change of the level's queues the seat's one may be gone.
        if let Some(queue) = self.levels[seat.level].queues.get_mut(seat.queue) {
            queue.running = queue.running.saturating_sub(1);
            queue.running_seats = queue.running_seats.saturating_sub(width);
            queue.done = queue.done.saturating_add(micros.saturating_mul(u64::from(width)));
        }
    }

    /// Whether somebody waited by this ticket.
    fn give_up(&mut self, level: usize, ticket: u64) -> bool {
        let level = &mut self.levels[level];
        for queue in &mut level.queues {
            let Some(place) = queue.waiting.iter().position(|waiter| waiter.ticket == ticket) else {
                continue;
            };
            if let Some(waiter) = queue.waiting.remove(place) {
                queue.waiting_seats -= waiter.width;
                level.waiting -= 1;
                self.waiting -= 1;
                return true;
            }
        }
        false
    }
}

impl Level {
    fn borrowed(&self) -> u32 {
        self.used.saturating_sub(self.bounds.min)
    }

    /// Which of two levels has less of what is its own.
    fn need(&self, other: &Self) -> std::cmp::Ordering {
        let part = |of: &Self, by: &Self| u64::from(of.used) * u64::from(by.bounds.nominal.max(1));
        part(self, other).cmp(&part(other, self))
    }

    /// The emptiest queue of a flow's hand.
    fn choose(&mut self, flow: u64) -> usize {
        let hand = self.queuing.map_or(1, |queuing| queuing.hand_size.max(1));
        let load = |queue: &usize| self.queues[*queue].waiting_seats + self.queues[*queue].running_seats;
        let chosen = deal(flow, self.queues.len(), hand).min_by_key(load).unwrap_or_default();
        let floor = self.floor;
        let queue = &mut self.queues[chosen];
        if queue.running_seats == 0 && queue.waiting.is_empty() {
            queue.done = queue.done.max(floor);
        }
        chosen
    }

    /// The queue that goes next, if any waits.
    fn next_queue(&self) -> Option<usize> {
        if self.waiting == 0 {
            return None;
        }
        let count = self.queues.len();
        let all = (0..count).map(|step| (self.next + step) % count);
        all.filter(|queue| !self.queues[*queue].waiting.is_empty())
            .min_by_key(|queue| self.queues[*queue].cost())
    }

    fn head_width(&self, queue: usize) -> u32 {
        self.queues[queue].waiting.front().map_or(0, |waiter| waiter.width)
    }

    fn take(&mut self) -> Option<(usize, Waiter)> {
        let place = self.next_queue()?;
        let queue = &mut self.queues[place];
        let waiter = queue.waiting.pop_front()?;
        queue.waiting_seats -= waiter.width;
        self.floor = self.floor.max(queue.done);
        self.waiting -= 1;
        self.next = (place + 1) % self.queues.len();
        Some((place, waiter))
    }

    /// Makes it have as many queues; who waits goes on waiting in order.
    fn reshape(&mut self, count: usize) {
        if self.queues.len() == count {
            return;
        }
        let mut old = std::mem::take(&mut self.queues);
        self.queues.resize_with(count, Queue::default);
        self.next = 0;
        for (place, queue) in old.iter_mut().enumerate() {
            let new = &mut self.queues[place % count];
            new.waiting_seats += queue.waiting_seats;
            new.waiting.append(&mut queue.waiting);
            if place < count {
                (new.running, new.running_seats, new.done) = (queue.running, queue.running_seats, queue.done);
            }
        }
    }
}

impl Queue {
    fn cost(&self) -> u64 {
        self.done.saturating_add(ASSUMED_MICROS.saturating_mul(u64::from(self.running_seats)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let ran = self.since.elapsed();
        let mut state = self.seats.0.lock();
        state.leave(self, u64::try_from(ran.as_micros()).unwrap_or(u64::MAX));
        let grants = state.dispatch(&self.seats);
        drop(state);
        self.usage.ended(self.width, ran);
        send(grants);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.seats.0.lock();
        let has_waited = state.give_up(self.level, self.ticket);
        // A wide request at the head may have kept narrower ones behind it.
        let grants = if has_waited { state.dispatch(&self.seats) } else { Grants::new() };
        drop(state);
        if has_waited {
            self.usage.left_queue();
            if !self.is_timed_out {
                self.usage.cancelled.fetch_add(1, Ordering::Relaxed);
            }
        }
        send(grants);
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
