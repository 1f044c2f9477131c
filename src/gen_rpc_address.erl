%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Addresses of other nodes: which families are used, and what a host resolves to.
-module(gen_rpc_address).

-export([families/1, resolve/2]).

%% In the order in which they are tried. An address has one family.
-spec families(gen_rpc_external_source:host()) -> [inet | inet6].
families(Host) ->
    case gen_rpc_config:get(ipv6_only) of
        true -> [inet6];
        false when tuple_size(Host) =:= 4 -> [inet];
        false when tuple_size(Host) =:= 8 -> [inet6];
        false -> [inet, inet6]
    end.

%% The addresses of one family, at least one.
-spec resolve(gen_rpc_external_source:host(), inet | inet6) ->
          {ok, [inet:ip_address()]} | {error, atom()}.
resolve(Host, Family) ->
    found(inet:getaddrs(Host, Family)).

found({ok, Addresses}) ->
    case [Address || Address <- Addresses, not is_mapped(Address)] of
        [] -> found({error, nxdomain});
        Own -> {ok, Own}
    end;
found({error, Reason}) when Reason =:= nxdomain; Reason =:= eafnosupport ->
    case gen_rpc_config:get(ipv6_only) of
        true -> {error, no_ipv6_address};
        false -> {error, nxdomain}
    end;
found(Error) ->
    Error.

%% Resolvers may give those of IPv4 in this form when they are asked for IPv6.
is_mapped({0, 0, 0, 0, 0, 16#FFFF, _, _}) -> true;
is_mapped(_Address) -> false.
