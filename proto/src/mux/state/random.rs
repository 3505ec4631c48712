//! Random operations on two states, against a model of what each stream must carry.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::Side;
use super::pair::{deliver, state};
use super::*;

/// Opened by side 0 more than side 1 lets it.
const LIMIT: usize = 12;

/// One direction of a stream: what was written into it, and how it was left.
#[derive(Default)]
struct Direction {
    written: usize,
    read: usize,
    ended: bool,
}

/// The byte at a place of a direction.
fn byte(id: u32, side: usize, at: usize) -> u8 {
    let mixed = (at as u64 ^ u64::from(id) << 32 ^ (side as u64) << 63)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_be_bytes();
    mixed[0]
}

struct World {
    rng: StdRng,
    sides: [State; 2],
    wires: [BytesMut; 2],
    /// The handles of each side.
    handles: [Vec<Key>; 2],
    /// By number, then by the side that writes.
    streams: HashMap<u32, [Direction; 2]>,
    /// By number: a side has dropped its handle.
    dropped: HashMap<u32, [bool; 2]>,
    over_limit: usize,
    bytes: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            sides: [state(Side::Client, 100), state(Side::Server, LIMIT)],
            wires: [BytesMut::new(), BytesMut::new()],
            handles: [Vec::new(), Vec::new()],
            streams: HashMap::new(),
            dropped: HashMap::new(),
            over_limit: 0,
            bytes: 0,
        }
    }

    fn step(&mut self) {
        let side = self.rng.random_range(0..2);
        match self.rng.random_range(0..100) {
            0..4 if self.handles[side].len() < 40 => {
                let key = self.sides[side].open().unwrap();
                self.handles[side].push(key);
            }
            4..12 => {
                if let Some((key, _)) = self.sides[side].accept().unwrap() {
                    self.handles[side].push(key);
                }
            }
            12..42 => self.write(side),
            42..70 => self.read(side),
            70..73 => self.finish(side),
            73..74 => self.drop_one(side),
            _ => self.carry(side),
        }
        self.sides[side].check();
    }

    fn pick(&mut self, side: usize) -> Option<usize> {
        let count = self.handles[side].len();
        (count > 0).then(|| self.rng.random_range(0..count))
    }

    fn write(&mut self, side: usize) {
        let Some(at) = self.pick(side) else { return };
        let mut key = self.handles[side][at];
        let length = if self.rng.random_bool(0.7) {
            self.rng.random_range(0..200)
        } else {
            self.rng.random_range(0..40_000)
        };
        // The first write gives the number on which the bytes depend.
        let (id, length) = match (key, self.sides[side].next_id) {
            (Key::Wire(id), _) => (id, length),
            (Key::Quiet(_), next) => (next.unwrap(), length),
        };
        let start = self
            .streams
            .get(&id)
            .map_or(0, |stream| stream[side].written);
        let data: Vec<_> = (start..start + length)
            .map(|at| byte(id, side, at))
            .collect();
        let result = self.sides[side].try_write(&mut key, &data);
        self.handles[side][at] = key;
        match result {
            Some(Ok(count)) => {
                let stream = self.streams.entry(id).or_default();
                assert!(!stream[side].ended);
                stream[side].written += count;
                self.bytes += count;
            }
            Some(Err(Broken::Finished)) => assert!(self.streams[&id][side].ended),
            Some(Err(broken)) => self.broken(side, key, &broken),
            None => {}
        }
    }

    fn read(&mut self, side: usize) {
        let Some(at) = self.pick(side) else { return };
        let key = self.handles[side][at];
        let limit = self.rng.random_range(1..100_000);
        let Some(result) = self.sides[side].try_read(key, limit) else {
            return;
        };
        let Key::Wire(id) = key else {
            panic!("bytes on a stream that nobody knows of");
        };
        match result {
            Ok(bytes) => {
                let from = &mut self.streams.get_mut(&id).unwrap()[1 - side];
                if bytes.is_empty() {
                    assert!(from.ended, "an end that nobody wrote");
                    assert_eq!(from.read, from.written, "bytes were lost");
                }
                for got in bytes {
                    assert_eq!(got, byte(id, 1 - side, from.read));
                    from.read += 1;
                }
            }
            Err(broken) => self.broken(side, key, &broken),
        }
    }

    fn broken(&mut self, side: usize, key: Key, broken: &Broken) {
        let Key::Wire(id) = key else {
            panic!("{broken:?} on a stream that nobody knows of");
        };
        match broken {
            Broken::Reset(Code::Overloaded) => {
                assert_eq!(side, 0);
                self.over_limit += 1;
            }
            Broken::Reset(Code::Cancelled) => {
                assert!(self.dropped[&id][1 - side], "a reset that nobody sent");
            }
            other => panic!("{other:?}"),
        }
    }

    fn finish(&mut self, side: usize) {
        let Some(at) = self.pick(side) else { return };
        let key = &mut self.handles[side][at];
        if self.sides[side].finish(key).is_ok()
            && let Key::Wire(id) = *key
        {
            self.streams.entry(id).or_default()[side].ended = true;
        }
    }

    fn drop_one(&mut self, side: usize) {
        let Some(at) = self.pick(side) else { return };
        let key = self.handles[side].swap_remove(at);
        if let Key::Wire(id) = key {
            self.dropped.entry(id).or_default()[side] = true;
        }
        self.sides[side].release(key, Code::Cancelled);
    }

    /// What a driver and a network do, in pieces of any size.
    fn carry(&mut self, from: usize) {
        if self.wires[from].is_empty() {
            self.sides[from].fill(&mut self.wires[from]);
        }
        let length = self.wires[from].len();
        let some = self.rng.random_range(0..=length);
        let rest = self.wires[from].split_off(some);
        deliver(&mut self.wires[from], &mut self.sides[1 - from]).unwrap();
        self.wires[from].unsplit(rest);
    }

    fn end(mut self) {
        for side in 0..2 {
            while !self.handles[side].is_empty() {
                self.drop_one(side);
            }
        }
        for _ in 0..1000 {
            for side in 0..2 {
                self.carry(side);
                while let Some((key, _)) = self.sides[side].accept().unwrap() {
                    self.sides[side].release(key, Code::Cancelled);
                }
            }
        }
        for state in &self.sides {
            state.check();
            assert_eq!((state.streams(), state.promised()), (0, 0));
        }
        // It did what it is for.
        assert!(self.bytes > 200_000, "{}", self.bytes);
        assert!(self.over_limit > 0);
    }
}

#[test]
fn random_operations_keep_every_promise() {
    for seed in 0..2 {
        let mut world = World::new(seed);
        for _ in 0..20_000 {
            world.step();
        }
        world.end();
    }
}
