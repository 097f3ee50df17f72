import { z } from 'zod';

const names = z.array(z.string().min(1)).default([]);

/** `allowed_clients`: who may ask, of all who have a certificate of the authority, by one name of its subject. */
export const allowedClients = z
  .object({ organizational_units: names, common_names: names })
  .refine(
    ({ organizational_units: units, common_names: commonNames }) => units.length + commonNames.length > 0,
    'nobody could ask: give organizational_units or common_names',
  )
  .transform(({ organizational_units: organizationalUnits, common_names: commonNames }) => ({
    organizationalUnits,
    commonNames,
  }));

export type AllowedClients = z.output<typeof allowedClients>;
