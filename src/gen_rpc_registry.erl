%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Table of the outgoing connections, one a destination. Callers read it; the dispatcher adds a
%% client when it starts it, the client adds its port when it is up, or that there is nobody. The table
%% belongs to the top supervisor, so nothing is forgotten when the dispatcher restarts.
-module(gen_rpc_registry).

-export([new/0, lookup/1, nodes/0, clients/0, unreachable/0]).
-export([add/2, up/3, unreachable/4, remove/2, client/1]).
-export([demand/0, was_wanted/1]).

-export_type([demand/0]).

-define(TABLE, ?MODULE).

-spec new() -> ok.
new() ->
    ?TABLE = ets:new(?TABLE, [named_table, public, set, {read_concurrency, true}]),
    %% By its identifier a table is found without the lock of the table of names.
    persistent_term:put(?TABLE, ets:whereis(?TABLE)).

%% The port of an authenticated connection; or why there was none at the last attempt, until the next
%% one has succeeded. `not_started' when the application does not run.
-spec lookup(gen_rpc:dest()) ->
          {ok, port()} | {unreachable, Reason :: term()} | none | not_started.
lookup(Dest) ->
    try ets:lookup(persistent_term:get(?TABLE), Dest) of
        [{_, _, Port}] when is_port(Port) ->
            {ok, Port};
        [{_, _, {unreachable, Reason, Settings, Demand}}] ->
            ok = atomics:put(Demand, 1, 1),
            %% With other settings it may be reachable, and its client looks at once if it is asked.
            case gen_rpc_config:generation() of
                Settings -> {unreachable, Reason};
                _Changed -> none
            end;
        _ ->
            none
    catch
        error:badarg -> not_started
    end.

%% Nodes with at least one authenticated connection, sorted.
-spec nodes() -> [node()].
nodes() ->
    try ets:select(?TABLE, [{{'$1', '_', '$2'}, [{is_port, '$2'}], ['$1']}]) of
        Dests -> lists:usort([gen_rpc_dest:node(Dest) || Dest <- Dests])
    catch
        error:badarg -> []
    end.

-spec clients() -> [{gen_rpc:dest(), pid()}].
clients() ->
    ets:select(?TABLE, [{{'$1', '$2', '_'}, [], [{{'$1', '$2'}}]}]).

%% Those of destinations that could not be reached.
-spec unreachable() -> [{gen_rpc:dest(), pid()}].
unreachable() ->
    ets:select(?TABLE, [{{'$1', '$2', {unreachable, '_', '_', '_'}}, [], [{{'$1', '$2'}}]}]).

-spec client(gen_rpc:dest()) -> {ok, pid()} | none.
client(Dest) ->
    case ets:lookup(?TABLE, Dest) of
        [{_, Client, _}] -> {ok, Client};
        [] -> none
    end.

%% A client that connects.
-spec add(gen_rpc:dest(), pid()) -> ok.
add(Dest, Client) ->
    true = ets:insert(?TABLE, {Dest, Client, connecting}),
    ok.

%% Its connection is up.
-spec up(gen_rpc:dest(), pid(), port()) -> ok.
up(Dest, Client, Port) ->
    true = ets:insert(?TABLE, {Dest, Client, Port}),
    ok.

%% It could not be made, with these settings; the client goes on trying.
-spec unreachable(gen_rpc:dest(), pid(), {Reason :: term(), gen_rpc_config:generation()},
                  demand()) -> ok.
unreachable(Dest, Client, {Reason, Settings}, Demand) ->
    true = ets:insert(?TABLE, {Dest, Client, {unreachable, Reason, Settings, Demand}}),
    ok.

%% Whether somebody wanted an unreachable destination. Beside the row: a row that callers change could
%% not be removed by comparison.
-opaque demand() :: atomics:atomics_ref().

-spec demand() -> demand().
demand() ->
    atomics:new(1, []).

%% Since it was made, or asked the last time.
-spec was_wanted(demand()) -> boolean().
was_wanted(Demand) ->
    atomics:exchange(Demand, 1, 0) =:= 1.

%% Removes that client, and no later one of the same destination.
-spec remove(gen_rpc:dest(), pid()) -> ok.
remove(Dest, Client) ->
    case ets:lookup(?TABLE, Dest) of
        [{_, Client, _} = Row] -> true = ets:delete_object(?TABLE, Row);
        _ -> true
    end,
    ok.
