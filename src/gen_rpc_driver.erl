%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Loads the port driver and lives as long as it is needed: the VM unloads a driver when the process
%% that loaded it dies. The driver can't be replaced while the VM runs.
-module(gen_rpc_driver).

-behaviour(gen_server).

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, none} | {stop, term()}.
init([]) ->
    _ = process_flag(trap_exit, true),
    case gen_rpc_port:load() of
        ok -> {ok, none};
        {error, Reason} -> {stop, {driver, Reason}}
    end.

-spec handle_call(term(), gen_server:from(), none) -> {reply, {error, unknown_call}, none}.
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), none) -> {noreply, none}.
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), none) -> {noreply, none}.
handle_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.
