import {
  Action,
  type CodependentAction,
  type DownloadAction,
  type EmitProgressAction,
  type ParallelAction,
  type RunAction,
  type SerialAction,
  type TimeoutAction,
  type TryAction,
  type UploadAction,
} from './models.js';

/** The one action that a wrapper is meant to hold (docs/protocol/bbs-messages.md, appendix A). */
export type InnerAction =
  | { kind: 'download'; action: DownloadAction }
  | { kind: 'upload'; action: UploadAction }
  | { kind: 'run'; action: RunAction }
  | { kind: 'timeout'; action: TimeoutAction }
  | { kind: 'emit_progress'; action: EmitProgressAction }
  | { kind: 'try'; action: TryAction }
  | { kind: 'parallel'; action: ParallelAction }
  | { kind: 'serial'; action: SerialAction }
  | { kind: 'codependent'; action: CodependentAction };

/** @returns the first that is set, in the protocol's order; undefined when none is */
export function unwrap(wrapper: Action): InnerAction | undefined {
  if (wrapper.downloadAction) return { kind: 'download', action: wrapper.downloadAction };
  if (wrapper.uploadAction) return { kind: 'upload', action: wrapper.uploadAction };
  if (wrapper.runAction) return { kind: 'run', action: wrapper.runAction };
  if (wrapper.timeoutAction) return { kind: 'timeout', action: wrapper.timeoutAction };
  if (wrapper.emitProgressAction) return { kind: 'emit_progress', action: wrapper.emitProgressAction };
  if (wrapper.tryAction) return { kind: 'try', action: wrapper.tryAction };
  if (wrapper.parallelAction) return { kind: 'parallel', action: wrapper.parallelAction };
  if (wrapper.serialAction) return { kind: 'serial', action: wrapper.serialAction };
  if (wrapper.codependentAction) return { kind: 'codependent', action: wrapper.codependentAction };
  return undefined;
}

export function wrap(inner: InnerAction): Action {
  switch (inner.kind) {
    case 'download':
      return Action.create({ downloadAction: inner.action });
    case 'upload':
      return Action.create({ uploadAction: inner.action });
    case 'run':
      return Action.create({ runAction: inner.action });
    case 'timeout':
      return Action.create({ timeoutAction: inner.action });
    case 'emit_progress':
      return Action.create({ emitProgressAction: inner.action });
    case 'try':
      return Action.create({ tryAction: inner.action });
    case 'parallel':
      return Action.create({ parallelAction: inner.action });
    case 'serial':
      return Action.create({ serialAction: inner.action });
    case 'codependent':
      return Action.create({ codependentAction: inner.action });
  }
}
