import { unwrap } from '../messages/inner-action.js';
import type { Action, DownloadAction } from '../messages/models.js';
import { checksumFindings } from './checksum.js';
import { type Findings, when, within } from './findings.js';

/** Of an action that must be there (docs/protocol/bbs.md §4.2, §4.4). */
export function requiredActionFindings(action: Action | undefined): Findings {
  return action ? within('action', actionFindings(action)) : ['invalid action type'];
}

/** docs/protocol/bbs.md §4.5 */
export function actionFindings(wrapper: Action): Findings {
  const inner = unwrap(wrapper);
  switch (inner?.kind) {
    case undefined:
      return when(true, 'inner-action');
    case 'download':
      return downloadFindings(inner.action);
    case 'upload':
      return [
        ...when(inner.action.to === '', 'to'),
        ...when(inner.action.from === '', 'from'),
        ...when(inner.action.user === '', 'user'),
      ];
    case 'run':
      return [...when(inner.action.path === '', 'path'), ...when(inner.action.user === '', 'user')];
    case 'timeout':
      return [...childFindings(inner.action.action), ...when(inner.action.timeoutMs <= 0n, 'timeout_ms')];
    case 'try':
    case 'emit_progress':
      return childFindings(inner.action.action);
    case 'parallel':
    case 'serial':
    case 'codependent':
      return [...when(inner.action.actions.length === 0, 'actions'), ...inner.action.actions.flatMap(actionFindings)];
  }
}

function downloadFindings(action: DownloadAction): Findings {
  return [
    ...when(action.from === '', 'from'),
    ...when(action.to === '', 'to'),
    ...when(action.user === '', 'user'),
    ...checksumFindings(action),
  ];
}

function childFindings(child: Action | undefined): Findings {
  return child ? actionFindings(child) : when(true, 'action');
}
