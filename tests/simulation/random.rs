//! The one source of chance of a run: its seed decides everything.

#[path = "../it/noise.rs"]
mod noise;

pub(crate) use noise::Noise as Random;

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds would else begin with neighbouring states.
        let mut random = Self(seed ^ 0x6c61_7264_6572);
        random.next();
        random
    }

    /// True once in so many times; never for 0.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}
