import type { CallName, RequestOf } from '../routes.js';

/** What is asked in place of a call that an old BBS has no route for. */
export interface Fallback {
  readonly name: CallName;
  readonly request: object;
}

type StartRequest = RequestOf<'StartActualLRP'> | RequestOf<'EvacuateRunningActualLRP'>;

/** The older revisions know only these fields (docs/protocol/bbs.md §2.1). */
function knownOfOld({ actualLrpKey, actualLrpInstanceKey, actualLrpNetInfo }: StartRequest): object {
  return { actualLrpKey, actualLrpInstanceKey, actualLrpNetInfo };
}

/** The older route that says nearly the same (docs/protocol/bbs.md §1); undefined when there is none. */
export function fallbackOf(name: CallName, request: object): Fallback | undefined {
  switch (name) {
    case 'StartActualLRP':
      return { name: 'StartActualLRP_r0', request: knownOfOld(request as StartRequest) };
    case 'EvacuateRunningActualLRP':
      return { name: 'EvacuateRunningActualLRP_r0', request: knownOfOld(request as StartRequest) };
    case 'DesiredLRPRoutingInfos':
      return { name: 'DesiredLRPs', request };
    default:
      return undefined;
  }
}
