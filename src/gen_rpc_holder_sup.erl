%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Supervisor of the holders, one for each scheduler. They know nothing of each other.
-module(gen_rpc_holder_sup).

-behaviour(supervisor).

-export([start_link/0, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => one_for_one, intensity => 5, period => 10},
          [#{id => {gen_rpc_holder, Index},
             start => {gen_rpc_holder, start_link, [Index]},
             shutdown => 5000} || Index <- lists:seq(1, gen_rpc_holder:count())]}}.
