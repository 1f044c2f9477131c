%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Supervisor of the outgoing connections. A lost one is not restarted: the next call makes another.
-module(gen_rpc_client_sup).

-behaviour(supervisor).

-export([start_link/0, start_client/1, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% Starts the client of a destination. It connects by itself: this never waits for a peer.
-spec start_client(gen_rpc:dest()) -> supervisor:startchild_ret().
start_client(Dest) ->
    supervisor:start_child(?MODULE, [Dest]).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => simple_one_for_one},
          [#{id => gen_rpc_client,
             start => {gen_rpc_client, start_link, []},
             restart => temporary,
             shutdown => 5000}]}}.
