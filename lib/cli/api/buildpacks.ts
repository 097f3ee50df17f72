import { CliError } from '../cli-error.js';
import type { Buildpack, BuildpackChange } from './resources.js';
import type { ApiTransport } from './transport.js';
import { zipForm } from './zip-form.js';

/** Operators' buildpacks in the Cloud Controller's client API. */
export class BuildpacksClient {
  constructor(private readonly transport: ApiTransport) {}

  /** In detection order. */
  async list(): Promise<Buildpack[]> {
    const { resources } = await this.transport.json<{ resources: Buildpack[] }>('GET', '/v2/buildpacks');
    return resources;
  }

  async find(name: string): Promise<Buildpack | undefined> {
    return (await this.list()).find((buildpack) => buildpack.name === name);
  }

  /** @throws CliError when there is no buildpack of that name */
  async get(name: string): Promise<Buildpack> {
    const buildpack = await this.find(name);
    if (!buildpack) throw new CliError(`there is no buildpack named ${name}`);
    return buildpack;
  }

  create(name: string, position: number): Promise<Buildpack> {
    return this.transport.json('POST', '/v2/buildpacks', { name, position });
  }

  update(guid: string, change: BuildpackChange): Promise<Buildpack> {
    return this.transport.json('PUT', `/v2/buildpacks/${guid}`, change);
  }

  delete(guid: string): Promise<void> {
    return this.transport.perform('DELETE', `/v2/buildpacks/${guid}`);
  }

  /** Uploads a zip as the buildpack's content. */
  async uploadBits(guid: string, path: string, filename: string): Promise<Buildpack> {
    const form = await zipForm({ field: 'buildpack', filename, path });
    const answer = await this.transport.send('PUT', `/v2/buildpacks/${guid}/bits`, form);
    return (await answer.body.json()) as Buildpack;
  }
}
