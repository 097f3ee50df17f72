import type { App } from '../../lib/mini-cc/apps/app.js';

/** An app record with plain values in all fields. */
export function anApp(overrides: Partial<App> = {}): App {
  return {
    id: 1,
    guid: '5a0e5f2c-7f3e-4b57-9a55-0d4f3d1b7c11',
    name: 'shop',
    version: 'c9bfa3cb-5b0c-4a3c-8f38-2c04e7e9a5d2',
    state: 'STOPPED',
    package_state: 'PENDING',
    instances: 1,
    memory: 256,
    disk_quota: 1024,
    file_descriptors: 16_384,
    stack: 'bookworm',
    buildpack: null,
    command: null,
    env: {},
    routes: ['shop.example.com'],
    services: [],
    diego: false,
    health_check_type: 'port',
    health_check_timeout: null,
    package_hash: null,
    droplet_hash: null,
    staging_task_id: null,
    staging_failed_reason: null,
    staging_failed_description: null,
    detected_buildpack: null,
    detected_start_command: null,
    execution_metadata: null,
    package_pending_since: null,
    created_at: '2015-06-30T13:52:36.000Z',
    updated_at: '2015-06-30T13:52:36.000Z',
    ...overrides,
  };
}
