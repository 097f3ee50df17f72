import type { Credentials } from '../../http/url.js';
import type { MiniCcConfig } from '../config.js';
import { loadOrCreateSecrets } from './secrets.js';

/** Who may do what: as the configuration says, else as this installation made up. */
export interface Access {
  /** Of users. */
  token: string;
  /** Of stagers. */
  staging: Credentials;
  /** Of health managers, for the desired state. */
  bulk: Credentials;
  /** Of health managers, for their orders, and of agents that complete stagings. */
  internal: Credentials;
  spaceGuid: string;
}

/** @throws when the file of secrets is there and unreadable or malformed */
export async function loadAccess(config: MiniCcConfig, secretsPath: string): Promise<Access> {
  const secrets = await loadOrCreateSecrets(secretsPath);
  return {
    token: config.client_token ?? secrets.client_token,
    staging: config.staging.auth ?? { user: 'staging_user', password: secrets.staging_password },
    bulk: credentialsOf(config.bulk_api) ?? { user: 'bulk_user', password: secrets.bulk_password },
    internal: credentialsOf(config.internal_api) ?? { user: 'internal_user', password: secrets.internal_password },
    spaceGuid: secrets.space_guid,
  };
}

function credentialsOf(access: MiniCcConfig['bulk_api']): Credentials | undefined {
  return access && { user: access.auth_user, password: access.auth_password };
}
