import { setTimeout as delay } from 'node:timers/promises';

/** Where the processor is emulated (spec/vm), everything takes so many times as long. */
export const patience = Number(process.env.ISTHMUS_SPEC_PATIENCE ?? 1);

/**
 * Tries until `probe` neither throws nor gives undefined, then gives its value.
 * @throws the last error, or that the condition never held, after `timeoutMs`
 */
export async function eventually<Value>(
  probe: () => Value | undefined | Promise<Value | undefined>,
  options: { timeoutMs?: number; what?: string } = {},
): Promise<Value> {
  const { what = 'the condition' } = options;
  const timeoutMs = (options.timeoutMs ?? 10_000) * patience;
  const deadline = Date.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined) return value;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (Date.now() > deadline) throw lastError ?? new Error(`${what} did not hold within ${timeoutMs} ms`);
    await delay(25);
  }
}
