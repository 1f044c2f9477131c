%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Supervisor of the incoming connections. Only authenticated peers get this far.
-module(gen_rpc_acceptor_sup).

-behaviour(supervisor).

-export([start_link/0, start_acceptor/2, acceptors/0, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% Starts the acceptor of a port that its caller will hand over to it.
-spec start_acceptor(port(), gen_rpc_acceptor:peer()) -> supervisor:startchild_ret().
start_acceptor(Port, Peer) ->
    supervisor:start_child(?MODULE, [Port, Peer]).

-spec acceptors() -> [pid()].
acceptors() ->
    [Acceptor || {_, Acceptor, _, _} <- supervisor:which_children(?MODULE), is_pid(Acceptor)].

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => simple_one_for_one},
          [#{id => gen_rpc_acceptor,
             start => {gen_rpc_acceptor, start_link, []},
             restart => temporary,
             shutdown => 5000}]}}.
