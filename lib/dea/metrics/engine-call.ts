import type { Loggregator } from '../../loggregator/loggregator.js';

/** Counts a call of the container engine that is over, as the DEA counts its calls of Warden (docs/protocol/dea.md §21.2). */
export function emitEngineCall(loggregator: Loggregator, call: { seconds: number; isOk: boolean }): void {
  const count = (name: string, delta: number) => loggregator.emit({ kind: 'CounterEvent', name, delta });
  count('total_warden_response_time_in_ms', Math.round(call.seconds * 1000));
  count('warden_request_count', 1);
  if (!call.isOk) count('warden_error_response_count', 1);
}
