import { expect } from 'chai';
import { failedValidation } from '../../../lib/bbs/errors.js';
import * as models from '../../../lib/bbs/messages/models.js';
import * as requests from '../../../lib/bbs/validation/requests.js';

const key = models.ActualLRPKey.create({ index: -1 });
const instanceKey = models.ActualLRPInstanceKey.create();
const keyNames = ['process_guid', 'index', 'domain'];

/** Each request with everything wrong that can be, and the names of what is found. */
const cases: [request: string, findings: readonly string[], names: string[]][] = [
  ['UpsertDomain', requests.upsertDomainFindings(models.UpsertDomainRequest.create()), ['domain']],
  [
    'DesiredLRPByProcessGuid',
    requests.processGuidFindings(models.DesiredLRPByProcessGuidRequest.create()),
    ['process_guid'],
  ],
  [
    'RemoveActualLRP',
    requests.indexFindings(models.RemoveActualLRPRequest.create({ index: -1 })),
    ['process_guid', 'index'],
  ],
  [
    'ClaimActualLRP',
    requests.claimFindings(models.ClaimActualLRPRequest.create({ index: -1 })),
    ['process_guid', 'actual_lrp_instance_key'],
  ],
  [
    'ClaimActualLRP with an empty instance key',
    requests.claimFindings(models.ClaimActualLRPRequest.create({ actualLrpInstanceKey: instanceKey })),
    ['process_guid', 'cell_id', 'instance_guid'],
  ],
  [
    'StartActualLRP',
    requests.startFindings(models.StartActualLRPRequest.create()),
    ['actual_lrp_key', 'actual_lrp_instance_key', 'actual_lrp_net_info'],
  ],
  [
    'EvacuateRunning with empty parts',
    requests.startFindings({
      actualLrpKey: key,
      actualLrpInstanceKey: instanceKey,
      actualLrpNetInfo: models.ActualLRPNetInfo.create(),
    }),
    [...keyNames, 'cell_id', 'instance_guid', 'address'],
  ],
  [
    'CrashActualLRP',
    requests.instanceFindings(
      models.CrashActualLRPRequest.create({ actualLrpKey: key, actualLrpInstanceKey: instanceKey }),
    ),
    [...keyNames, 'cell_id', 'instance_guid'],
  ],
  [
    'FailActualLRP',
    requests.failFindings(models.FailActualLRPRequest.create({ actualLrpKey: key })),
    [...keyNames, 'error_message'],
  ],
  ['RetireActualLRP', requests.retireFindings(models.RetireActualLRPRequest.create({ actualLrpKey: key })), keyNames],
  [
    'EvacuateCrashed',
    requests.evacuateCrashedFindings(models.EvacuateCrashedActualLRPRequest.create()),
    ['actual_lrp_key', 'actual_lrp_instance_key', 'error_message'],
  ],
  ['DesireLRP', requests.desireLrpFindings(models.DesireLRPRequest.create()), ['desired_lrp']],
  [
    'UpdateDesiredLRP',
    requests.updateDesiredLrpFindings(
      models.UpdateDesiredLRPRequest.create({ update: models.DesiredLRPUpdate.create({ instances: -1 }) }),
    ),
    ['process_guid', 'instances'],
  ],
  [
    'UpdateDesiredLRP without an update',
    requests.updateDesiredLrpFindings(models.UpdateDesiredLRPRequest.create({ processGuid: 'p' })),
    ['update'],
  ],
  [
    'DesireTask',
    requests.desireTaskFindings(models.DesireTaskRequest.create({ taskGuid: 'a b' })),
    ['task_guid', 'domain', 'task_definition'],
  ],
  ['StartTask', requests.taskOnCellFindings(models.StartTaskRequest.create()), ['task_guid', 'cell_id']],
  ['FailTask', requests.failTaskFindings(models.FailTaskRequest.create()), ['task_guid', 'failure_reason']],
  [
    'RejectTask, under the name of another field',
    requests.rejectTaskFindings(models.RejectTaskRequest.create()),
    ['task_guid', 'failure_reason'],
  ],
  ['CancelTask', requests.taskGuidFindings(models.TaskGuidRequest.create()), ['task_guid']],
];

describe('validation of requests', () => {
  for (const [request, findings, names] of cases) {
    it(`tells all that is wrong with ${request}, in order`, () => {
      expect(findings).to.deep.equal(names.map((name) => `Invalid field: ${name}`));
    });
  }

  it('wants at least one process guid', () => {
    expect(requests.processGuidsFindings(models.ActualLRPsByProcessGuidsRequest.create())).to.deep.equal([
      'process_guids must not be empty',
    ]);
  });

  it('takes any text as the guid of a task that is asked for', () => {
    expect(requests.taskGuidFindings({ taskGuid: 'a b' })).to.deep.equal([]);
  });

  it('joins its findings in one error', () => {
    expect(failedValidation(['Invalid field: a', 'Invalid field: b'])).to.deep.equal({
      type: models.ErrorType.InvalidRequest,
      message: 'Invalid field: a, Invalid field: b',
    });
  });
});
