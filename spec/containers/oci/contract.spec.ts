import { startOciEngine } from '../../support/oci.js';
import { describeEngineContract } from '../engine-contract.js';

for (const runtime of ['crun', 'runc'] as const) {
  describeEngineContract(`oci with ${runtime}`, { makeSubject: () => startOciEngine({ runtime }), isIsolated: true });
}
