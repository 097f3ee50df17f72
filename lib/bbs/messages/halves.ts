/** Going through memory takes a fraction of the time that arithmetic with big integers does. */
const whole = new BigUint64Array(1);
const halves = new Uint32Array(whole.buffer);
const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
const lowIndex = isLittleEndian ? 0 : 1;

/** The lower and the upper 32 bits; of a negative number those of its two's complement. */
export function halvesOf(value: bigint): [low: number, high: number] {
  whole[0] = value;
  return [halves[lowIndex]!, halves[1 - lowIndex]!];
}

/** An unsigned number of 64 bits. */
export function joinHalves(low: number, high: number): bigint {
  halves[lowIndex] = low;
  halves[1 - lowIndex] = high;
  return whole[0]!;
}
