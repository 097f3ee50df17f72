import { unwrap, wrap } from '../messages/inner-action.js';
import type { Action } from '../messages/models.js';

const nanosecondsPerMillisecond = 1_000_000n;

/**
 * The action with its time-outs in nanoseconds too, for clients of before 2016 (docs/protocol/bbs.md §2.1, V0). As with
 * upstream, wrappers that only report or only forgive go, and what a time-out holds stays as it is.
 */
export function withDeprecatedTimeouts(action: Action): Action {
  const inner = unwrap(action);
  switch (inner?.kind) {
    case 'timeout': {
      const deprecatedTimeoutNs = inner.action.timeoutMs * nanosecondsPerMillisecond;
      return wrap({ kind: 'timeout', action: { ...inner.action, deprecatedTimeoutNs } });
    }
    case 'emit_progress':
    case 'try':
      return inner.action.action ? withDeprecatedTimeouts(inner.action.action) : action;
    case 'parallel':
    case 'serial':
    case 'codependent':
      return wrap({ ...inner, action: { ...inner.action, actions: inner.action.actions.map(withDeprecatedTimeouts) } });
    default:
      return action;
  }
}

/** The action of such a client: every time-out that it gives in nanoseconds counts. */
export function withModernTimeouts(action: Action): Action {
  const inner = unwrap(action);
  switch (inner?.kind) {
    case 'timeout': {
      const { deprecatedTimeoutNs, timeoutMs, action: child } = inner.action;
      return wrap({
        kind: 'timeout',
        action: {
          ...inner.action,
          timeoutMs: deprecatedTimeoutNs === 0n ? timeoutMs : deprecatedTimeoutNs / nanosecondsPerMillisecond,
          action: child && withModernTimeouts(child),
        },
      });
    }
    case 'emit_progress':
      return wrap({ ...inner, action: { ...inner.action, action: modernChild(inner.action.action) } });
    case 'try':
      return wrap({ ...inner, action: { ...inner.action, action: modernChild(inner.action.action) } });
    case 'parallel':
    case 'serial':
    case 'codependent':
      return wrap({ ...inner, action: { ...inner.action, actions: inner.action.actions.map(withModernTimeouts) } });
    default:
      return action;
  }
}

function modernChild(child: Action | undefined): Action | undefined {
  return child && withModernTimeouts(child);
}
