import { expect } from 'chai';
import { wrap } from '../../../lib/bbs/messages/inner-action.js';
import {
  Action,
  CachedDependency,
  Check,
  CheckDefinition,
  DesiredLRP,
  DesiredLRPUpdate,
  DownloadAction,
  EnvironmentVariable,
  HTTPCheck,
  ImageLayer,
  ImageLayerDigestAlgorithm,
  ImageLayerMediaType,
  ImageLayerType,
  MetricTagValue,
  MetricTagValueDynamicValue,
  ParallelAction,
  ProtoRoutes,
  RunAction,
  Sidecar,
  TaskDefinition,
  TCPCheck,
  TimeoutAction,
  TryAction,
  VolumeMount,
} from '../../../lib/bbs/messages/models.js';
import { desiredLrpFindings, desiredLrpUpdateFindings } from '../../../lib/bbs/validation/desired-lrp.js';
import { taskDefinitionFindings } from '../../../lib/bbs/validation/task-definition.js';

const run = wrap({ kind: 'run', action: RunAction.create({ path: 'sh', user: 'vcap' }) });
const tags = new Map([['source_id', MetricTagValue.create({ static: 'g' })]]);
const fields = { processGuid: 'p', domain: 'd', rootFs: 'preloaded:cflinuxfs4', action: run, metricTags: tags };

function findings(changes: Partial<DesiredLRP>): string {
  return desiredLrpFindings(DesiredLRP.create({ ...fields, ...changes })).join(', ');
}

function routesOf(bytes: number): ProtoRoutes {
  return ProtoRoutes.create({ routes: new Map([['a-key-that-does-not-count', Buffer.alloc(bytes, '1')]]) });
}

describe('validation of a desired LRP', () => {
  it('finds nothing wrong with what is right', () => {
    expect(findings({})).to.equal('');
  });

  const cases: [what: string, changes: Partial<DesiredLRP>, expected: string][] = [
    ['a guid with a blank', { processGuid: 'bad guid!' }, 'Invalid field: process_guid'],
    ['no domain, twice', { domain: '' }, 'Invalid field: domain, Invalid field: domain'],
    ['no root file system, twice', { rootFs: '' }, 'Invalid field: rootfs, Invalid field: rootfs'],
    ['a root file system without a scheme', { rootFs: '/tmp/x' }, 'Invalid field: rootfs'],
    ['a root file system with a broken escape', { rootFs: 'docker:///a%zz' }, 'Invalid field: rootfs'],
    [
      'numbers below zero, in order',
      { instances: -1, memoryMb: -1, diskMb: -1, maxPids: -1 },
      'Invalid field: instances, Invalid field: memory_mb, Invalid field: disk_mb, Invalid field: max_pids',
    ],
    [
      'a rate below -1, under both its names',
      { logRateLimit: { bytesPerSecond: -2n } },
      'Invalid field: log_rate_limit_bytes_per_second, Invalid field: log_rate_limit',
    ],
    ['an annotation of 10241 bytes', { annotation: 'a'.repeat(10_241) }, 'Invalid field: annotation'],
    ['an annotation that is long in bytes only', { annotation: 'é'.repeat(5121) }, 'Invalid field: annotation'],
    ['routes of 131073 bytes', { routes: routesOf(131_073) }, 'Invalid field: routes'],
    ['no metric tags', { metricTags: new Map() }, 'Invalid field: metric_tags'],
    [
      'another source_id than the metrics guid',
      { metricsGuid: 'other' },
      'Invalid field: metric_tags, Invalid field: source_id should match metrics_guid',
    ],
    [
      'a metric tag of both kinds',
      {
        metricTags: new Map([['t', MetricTagValue.create({ static: 's', dynamic: MetricTagValueDynamicValue.INDEX })]]),
      },
      'Invalid field: metric_tags, Invalid field: static, Invalid field: dynamic',
    ],
    ['no action', { action: undefined }, 'invalid action type'],
    ['an empty action', { action: Action.create() }, 'Invalid field: action, Invalid field: inner-action'],
    [
      'a setup that lacks its parts',
      { setup: wrap({ kind: 'run', action: RunAction.create() }) },
      'Invalid field: setup, Invalid field: path, Invalid field: user',
    ],
    [
      'a monitor without end',
      { monitor: wrap({ kind: 'timeout', action: TimeoutAction.create({ action: run }) }) },
      'Invalid field: monitor, Invalid field: timeout_ms',
    ],
    [
      'nested actions',
      {
        action: wrap({
          kind: 'parallel',
          action: ParallelAction.create({
            actions: [wrap({ kind: 'try', action: TryAction.create() }), Action.create()],
          }),
        }),
      },
      'Invalid field: action, Invalid field: action, Invalid field: inner-action',
    ],
    [
      'no actions in a list',
      { action: wrap({ kind: 'parallel', action: ParallelAction.create() }) },
      'Invalid field: action, Invalid field: actions',
    ],
    [
      'a checksum of an unknown kind',
      {
        setup: wrap({
          kind: 'download',
          action: DownloadAction.create({
            from: 'f',
            to: 't',
            user: 'u',
            checksumAlgorithm: 'crc',
            checksumValue: '1',
          }),
        }),
      },
      'Invalid field: setup, Invalid field: invalid algorithm',
    ],
    [
      'half a checksum',
      { cachedDependencies: [CachedDependency.create({ from: 'f', to: 't', checksumAlgorithm: 'MD5' })] },
      'Invalid field: cached_dependency, Invalid field: checksum value',
    ],
    [
      'a variable without a name',
      { environmentVariables: [EnvironmentVariable.create({ value: 'v' })] },
      'invalid field: name cannot be blank',
    ],
    [
      'a digest without its algorithm, twice',
      {
        imageLayers: [
          ImageLayer.create({
            url: 'u',
            destinationPath: '/',
            layerType: ImageLayerType.SHARED,
            mediaType: ImageLayerMediaType.TGZ,
            digestValue: 'd',
          }),
        ],
      },
      'Invalid field: image_layer, Invalid field: digest_algorithm, Invalid field: digest_algorithm',
    ],
    [
      'an exclusive layer without a user',
      {
        imageLayers: [
          ImageLayer.create({
            url: 'u',
            destinationPath: '/',
            layerType: ImageLayerType.EXCLUSIVE,
            mediaType: ImageLayerMediaType.TAR,
            digestAlgorithm: ImageLayerDigestAlgorithm.SHA256,
            digestValue: 'd',
          }),
        ],
      },
      'Invalid field: legacy_download_user',
    ],
    [
      'sidecars',
      { sidecars: [Sidecar.create({ memoryMb: -1 }), Sidecar.create({ action: run, diskMb: -1 })] },
      'Invalid field: sidecars, invalid action type, Invalid field: memory_mb, Invalid field: disk_mb',
    ],
    [
      'a volume mount',
      { volumeMounts: [VolumeMount.create({ shared: { volumeId: '', mountConfig: '' } })] },
      'invalid volume_mount driver, invalid volume_mount mode, invalid volume_mount volume id',
    ],
    ['a user name alone', { imageUsername: 'u' }, 'Invalid field: image_password'],
    ['a password alone', { imagePassword: 'p' }, 'Invalid field: image_username'],
    [
      'checks',
      {
        checkDefinition: CheckDefinition.create({
          checks: [Check.create(), Check.create({ tcpCheck: TCPCheck.create(), httpCheck: HTTPCheck.create() })],
          readinessChecks: [Check.create({ tcpCheck: TCPCheck.create({ port: 65_536 }) })],
        }),
      },
      'Invalid field: check_definition, Invalid field: port, Invalid field: check, Invalid field: port',
    ],
  ];
  for (const [what, changes, expected] of cases) {
    it(`tells ${what}`, () => {
      expect(findings(changes)).to.equal(expected);
    });
  }

  it('takes what is just within the limits', () => {
    expect(findings({ annotation: 'a'.repeat(10_240), routes: routesOf(131_072), imageUsername: '' })).to.equal('');
  });

  it('takes every kind of root file system', () => {
    const kinds = ['preloaded+layer:cflinuxfs4?layer=https://x/%zz&layer_path=/', 'docker:///org/app#tag', 'extra:x'];
    for (const rootFs of kinds) expect(findings({ rootFs })).to.equal('');
  });
});

describe('validation of an update', () => {
  it('takes an empty one', () => {
    expect(desiredLrpUpdateFindings(DesiredLRPUpdate.create())).to.deep.equal([]);
  });

  it('goes by the presence of credentials, not by what they are', () => {
    expect(desiredLrpUpdateFindings(DesiredLRPUpdate.create({ imageUsername: '' }))).to.deep.equal([
      'Invalid field: image_password',
    ]);
    expect(desiredLrpUpdateFindings(DesiredLRPUpdate.create({ imageUsername: '', imagePassword: '' }))).to.deep.equal(
      [],
    );
  });

  it('tells its findings in order', () => {
    const update = DesiredLRPUpdate.create({
      instances: -1,
      annotation: 'a'.repeat(10_241),
      routes: routesOf(131_073),
      metricTags: new Map([['t', MetricTagValue.create()]]),
    });
    expect(desiredLrpUpdateFindings(update).join(', ')).to.equal(
      'Invalid field: instances, Invalid field: annotation, Invalid field: routes, Invalid field: metric_tags, Invalid field: static, Invalid field: dynamic',
    );
  });
});

describe('validation of a task definition', () => {
  it('tells its findings in order, the root file system once and a bad rule without details', () => {
    const definition = TaskDefinition.create({
      memoryMb: -1,
      diskMb: -1,
      logRateLimit: { bytesPerSecond: -2n },
      maxPids: -1,
      annotation: 'a'.repeat(10_241),
      egressRules: [
        {
          protocol: '',
          destinations: [],
          ports: [],
          portRange: undefined,
          icmpInfo: undefined,
          log: false,
          annotations: [],
        },
      ],
      imageUsername: 'u',
      cachedDependencies: [CachedDependency.create({ from: 'f' })],
    });
    expect(taskDefinitionFindings(definition).join(', ')).to.equal(
      [
        'Invalid field: rootfs',
        'invalid action type',
        'Invalid field: memory_mb',
        'Invalid field: disk_mb',
        'Invalid field: log_rate_limit',
        'Invalid field: max_pids',
        'Invalid field: annotation',
        'Invalid field: egress_rules',
        'Invalid field: image_password',
        'Invalid field: cached_dependency',
        'Invalid field: to',
      ].join(', '),
    );
  });
});
