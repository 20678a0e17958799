/** Numbers that look random, the same in every run. */

/** A generator of numbers in 0..1, without 1. */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A generator of integers in low..high. */
export function randomIntegers(seed) {
  const random = randomNumbers(seed);
  return (low, high) => low + Math.floor(random() * (high - low + 1));
}
