import { expect } from 'chai';
import { type MessageContext, stagingMessage, startMessage } from '../../../lib/mini-cc/agents/app-messages.js';
import { serviceBindingSchema } from '../../../lib/mini-cc/apps/app.js';
import { anApp } from '../../support/apps.js';

const context: MessageContext = {
  ccPartition: 'default',
  spaceName: 'dev',
  spaceGuid: '0d1f',
  runningEnvironment: { GROUP_VAR: '1', FOO: 'from the group' },
  stagingEnvironment: { STAGING_GROUP_VAR: 1 },
  runningRules: [{ protocol: 'tcp', destination: '10.0.11.0/24', ports: '80,443' }],
  stagingRules: [{ protocol: 'all', destination: '0.0.0.0-9.255.255.255' }],
  minimumStagingFileDescriptors: 16_384,
};
const managed = serviceBindingSchema.parse({
  name: 'shop-db',
  label: 'p-mysql',
  version: '1.0',
  provider: 'core',
  plan: '100mb',
  tags: ['mysql'],
  credentials: { uri: 'mysql://u:p@10.0.1.5:3306/db' },
});
const userProvided = serviceBindingSchema.parse({
  name: 'my-ups',
  credentials: { host: 'x' },
  syslog_drain_url: 'syslog://logs.example.com:514',
});
const app = anApp({
  env: { FOO: 'bar=baz', OBJECT: { a: 1 } },
  routes: ['shop.example.com', 'api.example.com/v1'],
  services: [managed, userProvided],
  droplet_hash: 'b6589fc6ab0dc82cf12099d1c2d40ab994e8410c',
});
const droplet = { sha1: app.droplet_hash, url: 'http://u:p@cc/staging/droplets/x/download' };

describe('a start message', () => {
  it('has every field with its type', () => {
    const limits = { mem: 256, disk: 1024, fds: 16_384 };
    expect(startMessage(app, 2, droplet, context)).to.deep.equal({
      droplet: app.guid,
      name: 'shop',
      stack: 'bookworm',
      uris: ['shop.example.com', 'api.example.com/v1'],
      prod: false,
      sha1: 'b6589fc6ab0dc82cf12099d1c2d40ab994e8410c',
      executableFile: 'deprecated',
      executableUri: 'http://u:p@cc/staging/droplets/x/download',
      version: app.version,
      services: [
        {
          credentials: { uri: 'mysql://u:p@10.0.1.5:3306/db' },
          options: {},
          syslog_drain_url: null,
          label: 'p-mysql-1.0',
          provider: 'core',
          vendor: 'p-mysql',
          plan: '100mb',
          name: 'shop-db',
          tags: ['mysql'],
          version: '1.0',
        },
        {
          credentials: { host: 'x' },
          options: {},
          syslog_drain_url: 'syslog://logs.example.com:514',
          label: 'user-provided',
          name: 'my-ups',
          tags: [],
        },
      ],
      limits,
      env: ['GROUP_VAR=1', 'FOO=bar=baz', 'OBJECT={"a":1}', 'CF_PROCESS_TYPE=web'],
      cc_partition: 'default',
      console: false,
      debug: null,
      start_command: null,
      health_check_timeout: null,
      vcap_application: {
        limits,
        application_id: app.guid,
        application_version: app.version,
        application_name: 'shop',
        application_uris: ['shop.example.com', 'api.example.com/v1'],
        version: app.version,
        name: 'shop',
        space_name: 'dev',
        space_id: '0d1f',
        uris: ['shop.example.com', 'api.example.com/v1'],
        users: null,
      },
      index: 2,
      egress_network_rules: [{ protocol: 'tcp', destination: '10.0.11.0/24', ports: '80,443' }],
    });
  });

  it('carries the app own command and health check limit', () => {
    const message = startMessage({ ...app, command: 'node app.js', health_check_timeout: 90 }, 0, droplet, context);
    expect(message).to.include({ start_command: 'node app.js', health_check_timeout: 90 });
  });
});

describe('a staging message', () => {
  const links = {
    package: 'http://u:p@cc/staging/apps/x',
    dropletUpload: 'http://u:p@cc/staging/droplets/x/upload',
    cacheDownload: null,
    cacheUpload: 'http://u:p@cc/staging/buildpack_cache/x/upload',
    buildpacks: [
      { name: 'first', key: 'g1_s1', url: 'http://cc/1' },
      { name: 'second', key: 'g2_s2', url: 'http://cc/2' },
    ],
  };
  const messageFor = (change: Parameters<typeof anApp>[0]) =>
    stagingMessage({ ...app, ...change }, 'task', links, context);

  it('has every field, and the whole start message of the first instance without a droplet', () => {
    const message = messageFor({});
    expect(message).to.deep.equal({
      app_id: app.guid,
      stack: 'bookworm',
      task_id: 'task',
      properties: {
        services: startMessage(app, 0, droplet, context).services,
        resources: { memory: 256, disk: 1024, fds: 16_384 },
        environment: ['STAGING_GROUP_VAR=1', 'FOO=bar=baz', 'OBJECT={"a":1}', 'CF_STACK=bookworm'],
        meta: { console: false },
      },
      download_uri: links.package,
      upload_uri: links.dropletUpload,
      buildpack_cache_download_uri: null,
      buildpack_cache_upload_uri: links.cacheUpload,
      start_message: startMessage(app, 0, { sha1: null, url: null }, context),
      admin_buildpacks: [
        { key: 'g1_s1', url: 'http://cc/1' },
        { key: 'g2_s2', url: 'http://cc/2' },
      ],
      egress_network_rules: [{ protocol: 'all', destination: '0.0.0.0-9.255.255.255' }],
    });
  });

  it('names a chosen admin buildpack by its key', () => {
    const { properties } = messageFor({ buildpack: 'second' });
    expect(properties.buildpack_key).to.equal('g2_s2');
    expect(properties).not.to.have.any.keys('buildpack', 'buildpack_git_url');
  });

  it('names any other buildpack by its URL, twice', () => {
    const { properties } = messageFor({ buildpack: 'https://git.example.com/bp.git#v1' });
    expect(properties).to.include({
      buildpack: 'https://git.example.com/bp.git#v1',
      buildpack_git_url: 'https://git.example.com/bp.git#v1',
    });
    expect(properties).not.to.have.property('buildpack_key');
  });

  it('carries the app own command', () => {
    expect(messageFor({ command: 'node app.js' }).properties.meta).to.deep.equal({
      command: 'node app.js',
      console: false,
    });
  });
});
