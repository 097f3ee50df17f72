import { expect } from 'chai';
import { serviceBindingSchema } from '../../../lib/mini-cc/apps/app.js';
import { type DiegoContext, desireMessage, etagOf, stagingRequest } from '../../../lib/mini-cc/diego/app-messages.js';
import { diegoEgressRules } from '../../../lib/mini-cc/diego/egress-rules.js';
import { processGuid, splitGuid, stagingGuid } from '../../../lib/mini-cc/diego/guids.js';
import { anApp } from '../../support/apps.js';

const context: DiegoContext = {
  ccPartition: 'default',
  spaceName: 'dev',
  spaceGuid: 'space',
  runningEnvironment: { GROUP: 1, FOO: 'group' },
  stagingEnvironment: { STAGING_GROUP: true },
  runningRules: [{ protocol: 'tcp', destination: '10.0.0.0/8', ports: '80,443' }],
  stagingRules: [{ protocol: 'all', destination: '0.0.0.0-9.255.255.255' }],
  minimumStagingFileDescriptors: 16_384,
  defaultHealthCheckTimeout: 60,
  allowSsh: true,
  minimumStagingMemoryMb: 1024,
  minimumStagingDiskMb: 4096,
  stagingTimeoutSeconds: 900,
};
const droplet = { sha1: 'b658', url: 'http://cc/droplet' };
const app = anApp({
  state: 'STARTED',
  instances: 3,
  env: { FOO: 'bar', DEEP: { a: 1 } },
  detected_start_command: 'run it',
  updated_at: '2015-06-30T13:52:36.123Z',
});
const desired = (change = {}) => desireMessage({ ...app, ...change }, droplet, context);
const variable = (message: { environment: { name: string; value: string }[] }, name: string) =>
  message.environment.find((entry) => entry.name === name)?.value;

describe('a message to nsync', () => {
  it('has every field that bridges of 2015 and of 2017 read', () => {
    const { environment: _environment, ...fields } = desired();
    expect(fields).to.deep.equal({
      process_guid: `${app.guid}-${app.version}`,
      memory_mb: 256,
      disk_mb: 1024,
      file_descriptors: 16_384,
      droplet_uri: 'http://cc/droplet',
      droplet_hash: 'b658',
      stack: 'bookworm',
      start_command: 'run it',
      execution_metadata: '',
      num_instances: 3,
      routes: ['shop.example.com'],
      routing_info: { http_routes: [{ hostname: 'shop.example.com' }] },
      log_guid: app.guid,
      log_source: 'APP',
      health_check_type: 'port',
      health_check_timeout_in_seconds: 60,
      egress_rules: [{ protocol: 'tcp', destinations: ['10.0.0.0/8'], ports: [80, 443] }],
      etag: '1435672356.123',
      allow_ssh: true,
    });
  });

  it('takes the app’s own command before the detected one, and its own time limit', () => {
    const message = desired({ command: 'mine', health_check_timeout: 120, execution_metadata: '{}' });
    expect([message.start_command, message.health_check_timeout_in_seconds]).to.deep.equal(['mine', 120]);
    expect(message.execution_metadata).to.equal('{}');
  });

  it('wants no instance of a stopped app', () => {
    expect(desired({ state: 'STOPPED' }).num_instances).to.equal(0);
  });

  it('lists all variables, the app’s own over those of the group, objects as JSON', () => {
    const message = desired();
    expect(message.environment.map(({ name }) => name)).to.deep.equal([
      'GROUP',
      'FOO',
      'VCAP_APPLICATION',
      'VCAP_SERVICES',
      'MEMORY_LIMIT',
      'CF_STACK',
      'DEEP',
    ]);
    expect(variable(message, 'FOO')).to.equal('bar');
    expect(variable(message, 'DEEP')).to.equal('{"a":1}');
    expect(variable(message, 'MEMORY_LIMIT')).to.equal('256m');
    const application = JSON.parse(variable(message, 'VCAP_APPLICATION')!);
    expect(application.application_id).to.equal(app.guid);
    expect(application).not.to.have.any.keys('uris', 'application_uris', 'users');
  });

  it('has the address of the first database among the services', () => {
    const service = (name: string, uri: string) => serviceBindingSchema.parse({ name, credentials: { uri } });
    const services = [service('queue', 'amqp://q'), service('db', 'mysql://u:p@host/db'), service('b', 'postgres://x')];
    expect(variable(desired({ services }), 'DATABASE_URL')).to.equal('mysql2://u:p@host/db');
  });
});

describe('a message to Diego’s stager', () => {
  const links = {
    package: 'http://cc/package',
    dropletUpload: 'http://cc/upload',
    cacheDownload: null,
    cacheUpload: 'http://cc/cache',
    buildpacks: [
      { name: 'ruby', key: 'r_1', url: 'http://cc/ruby' },
      { name: 'node', key: 'n_1', url: 'http://cc/node' },
    ],
  };
  const request = (change = {}, more = {}) =>
    stagingRequest({ ...app, ...change }, { ...links, ...more }, 'http://cc/completed', context);

  it('has every field, and at least what a staging needs', () => {
    const { environment, ...fields } = request();
    expect(fields).to.deep.equal({
      app_id: app.guid,
      log_guid: app.guid,
      file_descriptors: 16_384,
      memory_mb: 1024,
      disk_mb: 4096,
      timeout: 900,
      egress_rules: [{ protocol: 'all', destinations: ['0.0.0.0-9.255.255.255'] }],
      lifecycle: 'buildpack',
      lifecycle_data: {
        app_bits_download_uri: 'http://cc/package',
        build_artifacts_cache_upload_uri: 'http://cc/cache',
        droplet_upload_uri: 'http://cc/upload',
        stack: 'bookworm',
        buildpacks: links.buildpacks,
      },
      completion_callback: 'http://cc/completed',
    });
    expect(environment.map(({ name }) => name)).to.include.members(['STAGING_GROUP', 'VCAP_APPLICATION', 'FOO']);
  });

  it('names a cache when there is one', () => {
    const { lifecycle_data: data } = request({}, { cacheDownload: 'http://cc/old-cache' });
    expect(data.build_artifacts_cache_download_uri).to.equal('http://cc/old-cache');
  });

  it('has one buildpack, without detection, when the app names one', () => {
    expect(request({ buildpack: 'node' }).lifecycle_data.buildpacks).to.deep.equal([
      { name: 'node', key: 'n_1', url: 'http://cc/node', skip_detect: true },
    ]);
    const url = 'https://git/custom';
    expect(request({ buildpack: url }).lifecycle_data.buildpacks).to.deep.equal([
      { name: 'custom', key: url, url, skip_detect: true },
    ]);
  });
});

describe('rules for Diego', () => {
  it('are lists of ports, ranges, or kinds of icmp; those that log come last', () => {
    const rules = diegoEgressRules([
      { protocol: 'tcp', destination: '10.0.0.1', ports: '80,443', log: true },
      { protocol: 'udp', destination: '10.0.0.2', ports: '8080-9090' },
      { protocol: 'tcp', destination: '10.0.0.3', ports: '22,100-200' },
      { protocol: 'icmp', destination: '0.0.0.0/0', type: 0, code: -1 },
      { protocol: 'all', destination: '10.0.0.1-10.0.0.255' },
    ]);
    expect(rules).to.deep.equal([
      { protocol: 'udp', destinations: ['10.0.0.2'], port_range: { start: 8080, end: 9090 } },
      { protocol: 'tcp', destinations: ['10.0.0.3'], ports: [22] },
      { protocol: 'tcp', destinations: ['10.0.0.3'], port_range: { start: 100, end: 200 } },
      { protocol: 'icmp', destinations: ['0.0.0.0/0'], icmp_info: { type: 0, code: -1 } },
      { protocol: 'all', destinations: ['10.0.0.1-10.0.0.255'] },
      { protocol: 'tcp', destinations: ['10.0.0.1'], ports: [80, 443], log: true },
    ]);
  });
});

describe('guids for Diego', () => {
  it('are split where the app’s own ends', () => {
    expect(splitGuid(processGuid(app))).to.deep.equal({ appGuid: app.guid, rest: app.version });
    expect(splitGuid(stagingGuid(app.guid, 'task'))).to.deep.equal({ appGuid: app.guid, rest: 'task' });
    expect(splitGuid('short')).to.deep.equal({ appGuid: 'short', rest: '' });
  });

  it('have another etag with each change', () => {
    expect(etagOf({ updated_at: '2015-06-30T13:52:36.001Z' })).to.equal('1435672356.001');
  });
});
