import { startWardenEngine } from '../../support/warden.js';
import { describeEngineContract } from '../engine-contract.js';

describeEngineContract('Warden client and server over oci', {
  makeSubject: startWardenEngine,
  isIsolated: true,
  lacks: ['terminals', 'environment order', 'handle in path'],
});
