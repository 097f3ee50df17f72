import { expect } from 'chai';
import { wrap } from '../../../lib/bbs/messages/inner-action.js';
import {
  type Action,
  CachedDependency,
  CodependentAction,
  DesiredLRP,
  DownloadAction,
  EmitProgressAction,
  ImageLayer,
  ImageLayerDigestAlgorithm,
  ImageLayerType,
  ParallelAction,
  RunAction,
  SerialAction,
  StartActualLRPRequest,
  Task,
  TaskDefinition,
  TimeoutAction,
  TryAction,
} from '../../../lib/bbs/messages/models.js';
import { runningInstance } from '../../../lib/bbs/translations/running-instance.js';
import {
  desiredLrpForVersion,
  desiredLrpFromVersion0,
  eventForRevision0,
  taskDefinitionFromVersion0,
  taskForVersion,
} from '../../../lib/bbs/translations/versions.js';

const run = wrap({ kind: 'run', action: RunAction.create({ path: 'sh', user: 'u' }) });
const setup = wrap({ kind: 'run', action: RunAction.create({ path: 'setup', user: 'u' }) });
const timeout = (child: Action, fields: Partial<TimeoutAction>) =>
  wrap({ kind: 'timeout', action: TimeoutAction.create({ action: child, ...fields }) });
const parallel = (...actions: Action[]) => wrap({ kind: 'parallel', action: ParallelAction.create({ actions }) });
const serial = (...actions: Action[]) => wrap({ kind: 'serial', action: SerialAction.create({ actions }) });
const download = (fields: Partial<DownloadAction>) => wrap({ kind: 'download', action: DownloadAction.create(fields) });

const shared = ImageLayer.create({
  name: 'lifecycle',
  url: 'http://fs/l.tgz',
  destinationPath: '/tmp/l',
  layerType: ImageLayerType.SHARED,
  digestAlgorithm: ImageLayerDigestAlgorithm.SHA256,
  digestValue: 'abc',
});
const exclusive = ImageLayer.create({
  name: 'droplet',
  url: 'http://cc/d.tgz',
  destinationPath: '/home/vcap',
  layerType: ImageLayerType.EXCLUSIVE,
  digestAlgorithm: ImageLayerDigestAlgorithm.SHA512,
  digestValue: 'def',
});
const dependency = CachedDependency.create({ name: 'dep', from: 'f', to: 't', cacheKey: 'k', logSource: 'LOG' });
const layerDownload = download({
  artifact: 'droplet',
  from: 'http://cc/d.tgz',
  to: '/home/vcap',
  cacheKey: 'sha512:def',
  user: 'vcap',
  checksumAlgorithm: 'sha512',
  checksumValue: 'def',
});

const desired = DesiredLRP.create({
  processGuid: 'p',
  action: timeout(run, { timeoutMs: 5n }),
  setup,
  startTimeoutMs: 61_500n,
  imageLayers: [shared, exclusive],
  cachedDependencies: [dependency],
  legacyDownloadUser: 'vcap',
});

describe('a desired LRP for older clients', () => {
  it('is itself for those of version 3', () => {
    expect(desiredLrpForVersion(desired, 3)).to.equal(desired);
  });

  it('has dependencies and downloads for layers in version 2', () => {
    const second = desiredLrpForVersion(desired, 2);
    expect(second.imageLayers).to.deep.equal([]);
    expect(second.cachedDependencies).to.deep.equal([
      CachedDependency.create({
        name: 'lifecycle',
        from: 'http://fs/l.tgz',
        to: '/tmp/l',
        cacheKey: 'sha256:abc',
        checksumAlgorithm: 'sha256',
        checksumValue: 'abc',
      }),
      dependency,
    ]);
    expect(second.setup).to.deep.equal(serial(parallel(layerDownload), setup));
  });

  it('has only the downloads as setup where there was none', () => {
    expect(desiredLrpForVersion({ ...desired, setup: undefined }, 2).setup).to.deep.equal(parallel(layerDownload));
    expect(desiredLrpForVersion({ ...desired, imageLayers: [] }, 2).setup).to.equal(setup);
  });

  it('caches a layer without a digest by its address', () => {
    const layer = { ...shared, digestAlgorithm: ImageLayerDigestAlgorithm.DigestAlgorithmInvalid, digestValue: '' };
    const [first] = desiredLrpForVersion({ ...desired, imageLayers: [layer] }, 2).cachedDependencies;
    expect(first).to.deep.include({ cacheKey: 'http://fs/l.tgz', checksumAlgorithm: '' });
  });

  it('has time-outs in old units in version 1, and keeps its dependencies', () => {
    const first = desiredLrpForVersion(desired, 1);
    expect(first.action).to.deep.equal(timeout(run, { timeoutMs: 5n, deprecatedTimeoutNs: 5_000_000n }));
    expect(first.deprecatedStartTimeoutS).to.equal(61);
    expect(first.cachedDependencies).to.have.length(2);
  });

  it('downloads its dependencies in version 0', () => {
    const { setup: all, cachedDependencies } = desiredLrpForVersion({ ...desired, imageLayers: [] }, 0);
    const dependencyDownload = download({
      artifact: 'dep',
      from: 'f',
      to: 't',
      cacheKey: 'k',
      logSource: 'LOG',
      user: 'vcap',
    });
    expect(cachedDependencies).to.deep.equal([]);
    expect(all).to.deep.equal(serial(parallel(dependencyDownload), setup));
    expect(desiredLrpForVersion({ ...desired, imageLayers: [], setup: undefined }, 0).setup).to.deep.equal(
      serial(parallel(dependencyDownload)),
    );
  });

  it('loses wrappers that only report or forgive, with upstream', () => {
    const attempt = wrap({ kind: 'try', action: TryAction.create({ action: timeout(run, { timeoutMs: 1n }) }) });
    const report = wrap({ kind: 'emit_progress', action: EmitProgressAction.create({ action: attempt }) });
    const together = wrap({ kind: 'codependent', action: CodependentAction.create({ actions: [report, run] }) });
    const stripped = timeout(run, { timeoutMs: 1n, deprecatedTimeoutNs: 1_000_000n });
    expect(desiredLrpForVersion({ ...desired, action: together }, 1).action).to.deep.equal(
      wrap({ kind: 'codependent', action: CodependentAction.create({ actions: [stripped, run] }) }),
    );
  });
});

describe('what older clients send', () => {
  it('counts with its time-outs in old units', () => {
    const old = timeout(parallel(timeout(run, { deprecatedTimeoutNs: 2_000_000n })), {
      deprecatedTimeoutNs: 5_000_000n,
    });
    const modern = timeout(parallel(timeout(run, { deprecatedTimeoutNs: 2_000_000n, timeoutMs: 2n })), {
      deprecatedTimeoutNs: 5_000_000n,
      timeoutMs: 5n,
    });
    const lrp = desiredLrpFromVersion0(DesiredLRP.create({ action: old, deprecatedStartTimeoutS: 60 }));
    expect(lrp).to.deep.include({ action: modern, startTimeoutMs: 60_000n });
    expect(taskDefinitionFromVersion0(TaskDefinition.create({ action: old })).action).to.deep.equal(modern);
  });

  it('is without internal routes and tags on the first start route, and routable when it does not say', () => {
    const request = StartActualLRPRequest.create({
      actualLrpInternalRoutes: [{ hostname: 'a' }],
      metricTags: new Map([['a', 'b']]),
      availabilityZone: 'z',
    });
    expect(runningInstance(request, 0)).to.deep.include({ internalRoutes: [], routable: true, availabilityZone: 'z' });
    expect(runningInstance(request, 0).metricTags.size).to.equal(0);
    const instance = runningInstance({ ...request, routable: false }, 1);
    expect(instance).to.deep.include({ internalRoutes: [{ hostname: 'a' }], routable: false });
  });
});

describe('a task for older clients', () => {
  const definition = TaskDefinition.create({
    action: run,
    imageLayers: [exclusive],
    cachedDependencies: [dependency],
    legacyDownloadUser: 'vcap',
  });
  const task = Task.create({ taskDefinition: definition });

  it('downloads its layers before its action in version 2', () => {
    expect(taskForVersion(task, 2).taskDefinition).to.deep.include({
      action: serial(parallel(layerDownload), run),
      imageLayers: [],
      cachedDependencies: [dependency],
    });
  });

  it('downloads its dependencies too in version 0', () => {
    const dependencyDownload = download({
      artifact: 'dep',
      from: 'f',
      to: 't',
      cacheKey: 'k',
      logSource: 'LOG',
      user: 'vcap',
    });
    expect(taskForVersion(task, 0).taskDefinition?.action).to.deep.equal(
      serial(parallel(dependencyDownload), serial(parallel(layerDownload), run)),
    );
  });

  it('may be without a definition', () => {
    const bare = Task.create();
    expect(taskForVersion(bare, 2)).to.equal(bare);
  });

  it('is of version 2 on the event stream without a revision', () => {
    const event = eventForRevision0({ name: 'task_changed', message: { before: task, after: task } });
    expect(event).to.have.nested.property('message.after.taskDefinition.imageLayers').that.deep.equals([]);
  });
});

describe('events of streams without a revision', () => {
  it('show desired LRPs of version 0', () => {
    const changed = eventForRevision0({
      name: 'desired_lrp_changed',
      message: { before: desired, after: desired, traceId: 't' },
    });
    expect(changed).to.have.nested.property('message.traceId', 't');
    expect(changed).to.have.nested.property('message.after.deprecatedStartTimeoutS', 61);
    const created = eventForRevision0({ name: 'desired_lrp_created', message: { desiredLrp: desired, traceId: '' } });
    expect(created).to.have.nested.property('message.desiredLrp.deprecatedStartTimeoutS', 61);
  });

  it('leave events of actual LRPs alone', () => {
    const event = { name: 'actual_lrp_created', message: { actualLrpGroup: undefined } } as const;
    expect(eventForRevision0(event)).to.equal(event);
  });
});
