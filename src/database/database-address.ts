import { BlockList, isIP } from 'node:net';
import { Client } from 'pg';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Where a database URL leads, without its password: safe to print. */
export interface DatabaseAddress {
  /** A name, an IP address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  /** Whether the server is reached without leaving this machine: `localhost`, 127.0.0.0/8, `::1`, a Unix socket. */
  readonly isLocal: boolean;
  /** Whether the connection is to be encrypted. */
  readonly tls: boolean;
}

/** Reads a URL the way `pg` does, so that what is said and judged is what will be connected to. */
export function databaseAddress(url: string): DatabaseAddress {
  const { host, port, database, user, ssl } = new Client({ connectionString: url });
  return { host, port, database: database ?? '', user: user ?? '', isLocal: isLocalHost(host), tls: !!ssl };
}

function isLocalHost(host: string): boolean {
  if (host.startsWith('/') || host.toLowerCase() === 'localhost') return true;
  const version = isIP(host);
  return version !== 0 && loopback.check(host, version === 6 ? 'ipv6' : 'ipv4');
}
