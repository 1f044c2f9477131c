%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Service records of the DNS (RFC 2782): under which names a node is looked up, and in which order
%% what is found is tried. Pure.
-module(gen_rpc_srv).

-export([names/2, targets/1, order/2]).

-type record() :: {Priority :: 0..65535, Weight :: 0..65535, inet:port_number(),
                   Target :: string()}.
-type random() :: fun((pos_integer()) -> pos_integer()). % 1..N, each as likely
-export_type([record/0, random/0]).

%% The first name that has records counts: that of the node, then that of its host.
-spec names(gen_rpc_config:driver(), node()) -> [string()]. % [] if the node has no host
names(Driver, Node) ->
    case gen_rpc_dest:parts(Node) of
        {Name, Host} -> [service(Driver) ++ Rest || Rest <- [Name ++ "." ++ Host, Host]];
        none -> []
    end.

service(tcp) -> "_gen-rpc._tcp.";
service(ssl) -> "_gen-rpcs._tcp.".

%% Those that lead somewhere: the root as a target says that there is no such service.
-spec targets([record()]) -> [record()].
targets(Records) ->
    [Record || {_, _, Port, Target} = Record <- Records, Target =/= ".", Target =/= "", Port > 0].

%% Lowest priority first. Among those of the same, each is the next one as often as its weight says.
-spec order([record()], random()) -> [record()].
order(Records, Random) ->
    Priorities = lists:usort([Priority || {Priority, _, _, _} <- Records]),
    lists:append([by_weight([R || {P, _, _, _} = R <- Records, P =:= Priority], Random)
                  || Priority <- Priorities]).

by_weight([], _Random) ->
    [];
by_weight(Records0, Random) ->
    %% Weight 0 comes first, so that it has the one number in Sum + 1 that no other one has.
    Records = lists:keysort(2, Records0),
    Sum = lists:sum([Weight || {_, Weight, _, _} <- Records]),
    Record = pick(Records, Random(Sum + 1) - 1),
    [Record | by_weight(lists:delete(Record, Records), Random)].

pick([{_, Weight, _, _} = Record | _], Number) when Number =< Weight -> Record;
pick([{_, Weight, _, _} | Rest], Number) -> pick(Rest, Number - Weight).
