%% SPDX-License-Identifier: Apache-2.0
%% @doc Source of ways to nodes: SRV records of the DNS, from the name servers that the VM is
%% configured with. Use: `{client_config_per_node, {external, gen_rpc_dns_source}}'.
-module(gen_rpc_dns_source).

-behaviour(gen_rpc_external_source).

-export([get_config/1]).

%% What a record says of its time to live may be a mistake, s.
-define(LONGEST, 24 * 60 * 60).

-spec get_config(node()) -> gen_rpc_external_source:answer().
get_config(Node) ->
    Driver = gen_rpc_config:get(default_client_driver),
    FindOut = fun() -> find_out(gen_rpc_srv:names(Driver, Node)) end,
    case gen_rpc_source_cache:fetch(?MODULE, Node, FindOut) of
        {ok, [_ | _] = Records} ->
            [{Driver, Target, Port}
             || {_, _, Port, Target} <- gen_rpc_srv:order(Records, fun rand:uniform/1)];
        {error, Reason} ->
            {error, {dns, Reason}}
    end.

%% An answer that there are no records is not a failure of the DNS.
find_out([Name | Rest]) ->
    case inet_res:resolve(Name, in, srv) of
        {ok, Message} -> found(records(Message), Rest);
        {error, nxdomain} -> find_out(Rest);
        {error, {Reason, _Message}} -> {error, Reason};
        {error, Reason} -> {error, Reason}
    end;
find_out([]) ->
    {error, nxdomain}.

found([], Rest) ->
    find_out(Rest);
found(Records, _Rest) ->
    case gen_rpc_srv:targets([Data || {Data, _} <- Records]) of
        [] -> {error, no_service};
        Targets -> {ok, Targets, 1000 * lists:min([?LONGEST | [Ttl || {_, Ttl} <- Records]])}
    end.

%% With the times to live, s.
records(Message) ->
    [{inet_dns:rr(Rr, data), inet_dns:rr(Rr, ttl)} || Rr <- inet_dns:msg(Message, anlist),
                                                     inet_dns:rr(Rr, type) =:= srv].
